"""The nipype graphs of the app, and the runner that executes them."""
