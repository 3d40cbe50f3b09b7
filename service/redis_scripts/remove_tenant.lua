-- Forget a tenant and its keys. KEYS: version, tenants, keys.
-- ARGV: the version after the change, name. Returns whether it existed.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return 1 -- sent twice
end
if redis.call('HDEL', KEYS[2], ARGV[2]) == 0 then
  return 0
end
local keys = redis.call('HGETALL', KEYS[3])
for at = 1, #keys, 2 do
  if cjson.decode(keys[at + 1]).tenant == ARGV[2] then
    redis.call('HDEL', KEYS[3], keys[at])
  end
end
redis.call('SET', KEYS[1], ARGV[1])
return 1
