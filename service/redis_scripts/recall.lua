-- What an append under this key would replay. KEYS: sketch, answers.
-- ARGV: incarnation, now, idempotency key, body digest.
-- Returns 'ok' as append does, or 'none', or a refusal.
local found, refusal = alive(ARGV[1], ARGV[2])
if not found then
  return refusal
end
local answer = redis.call('HGET', KEYS[2], ARGV[3])
if not answer then
  return {'none'}
end
local expires, position, updates, body = string.match(answer, '^(%S+) (%S+) (%S+) (.*)$')
if tonumber(expires) <= tonumber(ARGV[2]) then
  return {'none'}
end
if body ~= ARGV[4] or position == '0' then
  return {'reused'}
end
local sketch = redis.call('HMGET', KEYS[1], 'b', 'c', 'fb', 'fc', 'p')
redis.call('HSET', KEYS[1], 'p', sketch[5]) -- as in append: something for WAIT to wait for
return {'ok', position, updates, text(tonumber(sketch[1]) - tonumber(sketch[3])),
  text(tonumber(sketch[2]) - tonumber(sketch[4])), 1}
