#!/bin/sh
# The steps of the Dockerfile's build stage; tests/deploy/test_image.py takes the same ones without
# an engine.
#
#   build.sh dependencies LOCK ENVIRONMENT   an environment with what the lock names, and no more
#   build.sh service SOURCE ENVIRONMENT      the service in it, made ready to run where nothing
#                                            can be written
set -eu

pip() {
	python -m pip --python "$environment/bin/python" "$@"
}

dependencies() {
	python -m venv --without-pip "$environment"
	pip install --quiet --no-compile --only-binary :all: --require-hashes -r "$1"
}

service() {
	# The build backend comes from the lock too, so nothing is fetched here.
	pip wheel --quiet --no-deps --no-index --no-build-isolation --wheel-dir "$1/dist" "$1"
	pip install --quiet --no-deps --no-index --no-compile "$1"/dist/*.whl
	# Needed to build, and not to run.
	pip uninstall --quiet --yes setuptools
	trim
	compile
}

# A sixth of what wheels bring nobody runs: numpy's own tests and Fortran, C and Cython sources,
# headers, types, and commands of libraries.
trim() {
	find "$environment" -depth -type d \( -name tests -o -path '*/numpy/f2py' \
		-o -path '*/numpy/distutils' \) -exec rm -rf {} +
	find "$environment" -type f \( -name '*.py[iwx]' -o -name '*.px[di]' -o -name '*.[ach]' \) \
		-delete
	find "$environment/bin" -type f ! -name sketchd -delete
	find "$environment/bin" -type l ! -name 'python*' -delete
}

# In a folder of its own, since part of it is of the standard library, which lies elsewhere.
compile() {
	PYTHONPYCACHEPREFIX="$environment/bytecode" PYTHONDONTWRITEBYTECODE=1 \
		"$environment/bin/python" -P "$(dirname "$0")/bytecode.py"
}

step=$1
environment=$3
"$step" "$2"
