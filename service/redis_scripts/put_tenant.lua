-- Add or replace a tenant. KEYS: version, tenants.
-- ARGV: the version after the change, name, what it is, '1' for a new one.
-- Returns 1, or 0 when a new one exists or an old one does not.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return 1 -- sent twice
end
if (redis.call('HEXISTS', KEYS[2], ARGV[2]) == 1) == (ARGV[4] == '1') then
  return 0
end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
redis.call('SET', KEYS[1], ARGV[1])
return 1
