-- No later entry may change the operand. KEYS: sketch, answers, expiries.
-- ARGV: incarnation, now, operand, idempotency key or '', body digest, when it may be
--   forgotten, seconds till then.
-- Returns ok and HGETALL, or a refusal.
local found, refusal = alive(ARGV[1], ARGV[2])
if not found then
  return refusal
end
local key = ARGV[4]
if key ~= '' then
  local answer = redis.call('HGET', KEYS[2], key)
  if answer then
    local expires, position, _, body = string.match(answer, '^(%S+) (%S+) (%S+) (.*)$')
    if tonumber(expires) > tonumber(ARGV[2]) then
      if body ~= ARGV[5] or position ~= '0' then
        return {'reused'}
      end
      redis.call('HSET', KEYS[1], 'i', found) -- as in append: something for WAIT to wait for
      return {'ok', redis.call('HGETALL', KEYS[1])}
    end
  end
  redis.call('HSET', KEYS[2], key, table.concat({ARGV[6], '0', '0', ARGV[5]}, ' '))
  redis.call('ZADD', KEYS[3], ARGV[6], key)
  local rest = math.max(tonumber(ARGV[7]), redis.call('TTL', KEYS[2]))
  redis.call('EXPIRE', KEYS[2], rest)
  redis.call('EXPIRE', KEYS[3], rest)
end
local sealed = redis.call('HGET', KEYS[1], 'z')
if not string.find(',' .. sealed .. ',', ',' .. ARGV[3] .. ',', 1, true) then
  sealed = sealed == '' and ARGV[3] or sealed .. ',' .. ARGV[3]
end
redis.call('HSET', KEYS[1], 'z', sealed)
return {'ok', redis.call('HGETALL', KEYS[1])}
