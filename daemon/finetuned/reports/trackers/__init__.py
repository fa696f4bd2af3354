"""
The history of jobs, written for programs that show experiments: MLflow and TensorBoard.
"""
