"""An installation's whole state from one set of stores to another: `lamina migrate`, `backup`, `restore`."""
