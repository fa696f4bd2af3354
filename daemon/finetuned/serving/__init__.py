"""
The model answers whoever asks over the network: a gateway that clients see, an engine behind it.
"""
