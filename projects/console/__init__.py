"""The installed command ``smalldet``: one program for what the scripts of ``tools/`` do.

Flows in: a command line; out: an exit status, and a sentence where a library is missing. Each
command is a module with its argument parser and ``main(arguments, prog)``, which the script in
``tools/`` calls, too; argparse and the standard library only, all else is imported on use, so that
help needs no torch. It may import every package. Start reading at ``main``.
"""
