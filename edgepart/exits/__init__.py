"""Early exits: where they sit, and the source of their heads from templates.

``placement`` finds the places where one tensor carries all that the network knows, and spreads exits over them.
``template`` reads what a template declares, and ``render`` turns it into a Python file with a class ``Head`` for one
tensor. No framework is needed for any of it; compiling and training a head is the framework's business.
"""
