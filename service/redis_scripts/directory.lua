-- All tenants and keys, unless nothing has changed. KEYS: version, tenants, keys. ARGV: version or ''.
-- Returns {version} or {version, tenants, keys}, both as HGETALL has them.
local version = redis.call('GET', KEYS[1]) or '0'
if version == ARGV[1] then
  return {version}
end
return {version, redis.call('HGETALL', KEYS[2]), redis.call('HGETALL', KEYS[3])}
