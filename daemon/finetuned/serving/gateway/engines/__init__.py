"""
Engines behind one interface (interface.py): our own process (own.py), or a server that others make.

own.py starts ``serving/engine`` and speaks to it over a socket; openai_server.py and the files
that begin like it ask any server with OpenAI's interface: vLLM, SGLang, llama.cpp.
"""
