"""
Programs that measure the product or make its parts; none of them is installed.
"""
