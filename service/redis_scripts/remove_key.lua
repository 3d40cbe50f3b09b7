-- Forget a key. KEYS: version, keys. ARGV: the version after the change, id.
-- Returns whether it existed.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return 1 -- sent twice
end
if redis.call('HDEL', KEYS[2], ARGV[2]) == 0 then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1])
return 1
