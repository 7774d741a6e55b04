"""The checks of ``edgekit doctor``: each module looks at one side of the machine and yields findings."""
