"""
The parts of experiments/bench_training.py.

Reading order: settings (what is compared), workloads (the rows), shapes (the
model), ours and peers (who trains), contestant (one of them in a process of its
own), report (the verdict), limits (what the machine could do at best).
"""
