"""The suite of nodes that ask language models: a server of our own answers, over the loopback."""
