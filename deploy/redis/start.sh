#!/bin/sh
# Starts Redis with redis.conf, and with what differs from one installation to the next:
#   REDIS_PASSWORD    required
#   REDIS_MAXMEMORY   how much memory the data may take (1gb)
# The password goes in on standard input: on the command line every process could read it. Options
# given to this script win over both files.
set -eu

: "${REDIS_PASSWORD:?must be set: openssl rand -hex 32 makes one}"
case $REDIS_PASSWORD in
*[!A-Za-z0-9_-]*)
	# It also stands in a URL, where other characters would need to be encoded.
	echo "REDIS_PASSWORD: letters, digits, - and _ only; openssl rand -hex 32 makes one" >&2
	exit 1
	;;
esac

exec redis-server "$(dirname "$0")/redis.conf" "$@" - <<END
requirepass $REDIS_PASSWORD
maxmemory ${REDIS_MAXMEMORY:-1gb}
END
