"""Tests in real JupyterLab and Notebook 7; a package, so that its fixtures are shared."""
