#!/bin/sh
# Programs that tests start and that no Python package brings: from Debian's packages, where they
# are missing and may be installed. Elsewhere it says what is missing, and their tests are skipped.
set -eu

# Where Debian puts servers, which is on the PATH of root alone.
PATH=$PATH:/usr/sbin:/sbin
missing=
needs() { # program package
	command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
needs chromium chromium
needs promtool prometheus
needs haproxy haproxy
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	echo "installing$missing, once"
	export DEBIAN_FRONTEND=noninteractive
	# Only the programs: no service of theirs is to start.
	policy=/usr/sbin/policy-rc.d
	if [ ! -e "$policy" ]; then
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod +x "$policy"
		trap 'rm -f "$policy"' EXIT
		# A signal alone would end the shell without that.
		trap 'exit 1' HUP INT TERM
	fi
	# shellcheck disable=SC2086 # several words are meant
	if apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing >/dev/null; then
		exit 0
	fi
	echo "could not install$missing" >&2
else
	echo "some tests will be skipped; they need (Debian's packages):$missing" >&2
fi
# Where nobody looks at what was skipped, a missing program is a failure: tests/programs.py.
