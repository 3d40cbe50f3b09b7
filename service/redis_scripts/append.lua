-- Add one entry at the end of the log, once.
--
-- KEYS: sketch, log, answers, expiries, lanes, attachments, blob (or the sketch again).
-- ARGV: 1 incarnation, 2 now, 3 entry id, 4 operands (commas), 5 payload, 6 updates,
--   7 coordinates, 8 underflowed, 9 bytes, 10 max_log_bytes,
--   11 idempotency key or '', 12 body digest, 13 when it may be forgotten, 14 seconds till then,
--   15 lane or '', 16 the lane's number, 17 chunks of the blob or 0.
--
-- Once: a caller's key is remembered with the first answer until it expires. An append
-- without one is numbered within a lane, of which its replica has at most one append under way:
-- the same number again is a retry, a smaller one a ghost that its replica has given up.
local found, refusal = alive(ARGV[1], ARGV[2])
if not found then
  return refusal
end
local now = tonumber(ARGV[2])
local sketch = redis.call('HMGET', KEYS[1], 'p', 'd', 'u', 'w', 'b', 'c', 'fb', 'fc', 't', 'z')
local log_bytes = tonumber(sketch[5]) - tonumber(sketch[7])
local backlog = tonumber(sketch[6]) - tonumber(sketch[8])

local function again(position, updates)
  -- Written anew, so that WAIT on this connection covers what the first attempt wrote.
  redis.call('HSET', KEYS[1], 'p', sketch[1])
  return {'ok', position, updates, text(log_bytes), text(backlog), 1}
end

if ARGV[11] ~= '' then
  local answer = redis.call('HGET', KEYS[3], ARGV[11])
  if answer then
    local expires, position, updates, body = string.match(answer, '^(%S+) (%S+) (%S+) (.*)$')
    if tonumber(expires) > now then
      if body ~= ARGV[12] or position == '0' then
        return {'reused'}
      end
      return again(position, updates)
    end
  end
else
  local last = redis.call('HGET', KEYS[5], ARGV[15])
  if last then
    local number, position, updates = string.match(last, '^(%S+) (%S+) (%S+)')
    if tonumber(number) == tonumber(ARGV[16]) then
      return again(position, updates)
    end
    if tonumber(number) > tonumber(ARGV[16]) then
      return {'ghost'}
    end
  elseif redis.call('HLEN', KEYS[5]) >= 256 then
    -- Lanes of replicas that are gone; one that is quiet this long has nothing under way.
    local lanes = redis.call('HGETALL', KEYS[5])
    for at = 1, #lanes, 2 do
      local used = tonumber(string.match(lanes[at + 1], '(%S+)$'))
      if used < now - 600 then
        redis.call('HDEL', KEYS[5], lanes[at])
      end
    end
  end
end

local sealed = ',' .. sketch[10] .. ','
local refused = nil
for operand in string.gmatch(ARGV[4], '[^,]+') do
  if string.find(sealed, ',' .. operand .. ',', 1, true) and (not refused or operand < refused) then
    refused = operand
  end
end
if refused then
  return {'sealed', refused}
end
if log_bytes >= tonumber(ARGV[10]) then
  return {'full', text(log_bytes)}
end
local chunks = tonumber(ARGV[17])
if chunks > 0 and redis.call('HLEN', KEYS[7]) ~= chunks then
  return {'incomplete'}
end

local position = tonumber(sketch[1]) + 1
local digest = redis.sha1hex(sketch[2] .. ARGV[3])
local bytes = tonumber(sketch[5]) + tonumber(ARGV[9])
local coordinates = tonumber(sketch[6]) + tonumber(ARGV[7])
local at = string.format('%.0f', position)
local entry = {'i', ARGV[3], 'd', digest, 'b', text(bytes), 'c', text(coordinates), 'p', ARGV[5]}
if chunks > 0 then
  for _, part in ipairs({'a', KEYS[7], 'n', ARGV[17], 'z', ARGV[9]}) do
    entry[#entry + 1] = part
  end
  redis.call('PERSIST', KEYS[7])
  redis.call('ZADD', KEYS[6], at, KEYS[7])
end
redis.call('XADD', KEYS[2], at .. '-0', unpack(entry))
local expires = ''
if sketch[9] ~= '' then
  expires = text(now + tonumber(sketch[9]))
end
redis.call('HSET', KEYS[1], 'p', at, 'd', digest, 'b', text(bytes), 'c', text(coordinates),
  'u', text(tonumber(sketch[3]) + tonumber(ARGV[6])),
  'w', text(tonumber(sketch[4]) + tonumber(ARGV[8])), 'e', expires)

if ARGV[11] ~= '' then
  redis.call('HSET', KEYS[3], ARGV[11], table.concat({ARGV[13], at, ARGV[6], ARGV[12]}, ' '))
  redis.call('ZADD', KEYS[4], ARGV[13], ARGV[11])
  -- Each new key takes up to four old ones with it; a sketch that rests loses all of them.
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', ARGV[2], 'LIMIT', 0, 4)) do
    redis.call('HDEL', KEYS[3], old)
    redis.call('ZREM', KEYS[4], old)
  end
  local rest = math.max(tonumber(ARGV[14]), redis.call('TTL', KEYS[3]))
  redis.call('EXPIRE', KEYS[3], rest)
  redis.call('EXPIRE', KEYS[4], rest)
else
  redis.call('HSET', KEYS[5], ARGV[15], table.concat({ARGV[16], at, ARGV[6], ARGV[2]}, ' '))
end
return {'ok', at, ARGV[6], text(bytes - tonumber(sketch[7])),
  text(coordinates - tonumber(sketch[8])), 0}
