-- Add a key. KEYS: version, tenants, keys.
-- ARGV: the version after the change, id, tenant, what it is, in the one way there is to write it.
-- Returns 1, or 0 when the tenant does not exist or another key has this id.
local there = redis.call('HGET', KEYS[3], ARGV[2])
if there then
  return there == ARGV[4] and 1 or 0
end
if redis.call('HEXISTS', KEYS[2], ARGV[3]) == 0 then
  return 0
end
redis.call('HSET', KEYS[3], ARGV[2], ARGV[4])
redis.call('SET', KEYS[1], ARGV[1])
return 1
