#!/bin/sh
# One file for each tenant, named after it and the time; old ones go. Ends with status 1 if any
# backup failed, having tried them all.
set -eu
folder=${BACKUP_FOLDER:-/backups}
days=${BACKUP_DAYS:-14}

# In overlays/small the Secret holds the password alone.
: "${SKETCHD_STORE:=redis://:${REDIS_PASSWORD:-}@sketchd-redis:6379/0}"
export SKETCHD_STORE

# What was being written when a pod was killed: no backup, and in the way of the next ones. Of a day
# ago, far longer than a job may run, so that nobody's is taken that is at work now.
find "$folder" -maxdepth 1 -name '.*.backup.*' -mmin +1440 -delete

now=$(date -u +%Y-%m-%dT%H-%M-%SZ)
listed=$(sketchd tenant list --json)
tenants=$(printf %s "$listed" | python -c '
import json, sys
names = {one["name"] for one in json.load(sys.stdin)["tenants"]} | {"default"}
print("\n".join(sorted(names)))')

status=0
for tenant in $tenants; do
  # What is damaged, or of a newer release, is left out and named; the rest is kept.
  sketchd backup --tenant "$tenant" --skip-unreadable \
    --output "$folder/$tenant-$now.backup" || status=1
done

# Only after a night that went well: else the last good files could be the ones that go.
if [ "$status" = 0 ]; then
  find "$folder" -maxdepth 1 -name '*.backup' -mtime "+$days" -delete
fi
exit "$status"
