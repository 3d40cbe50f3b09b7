-- Make a staged state the checkpoint. The log is trimmed afterwards, in steps (trim).
--
-- KEYS: sketch, log, the new state, the old state (or the sketch again).
-- ARGV: incarnation, now, replaces, position, digest, chunks, exact, whether there is an old state.
-- Returns ok, lost, incomplete, changed (read the old state's key again), or a refusal.
local found, refusal = alive(ARGV[1], ARGV[2])
if not found then
  return refusal
end
local sketch = redis.call('HMGET', KEYS[1], 'P', 'B', 'p', 'd')
if sketch[2] == KEYS[3] then
  redis.call('HSET', KEYS[1], 'P', sketch[1]) -- a retry of what was done; for WAIT
  return {'ok'}
end
local position = tonumber(ARGV[4])
if sketch[1] ~= ARGV[3] or position <= tonumber(ARGV[3]) or position > tonumber(sketch[3]) then
  return {'lost'}
end
local id = ARGV[4] .. '-0'
local entry = redis.call('XRANGE', KEYS[2], id, id)[1]
local fields = {}
if entry then
  for at = 1, #entry[2], 2 do
    fields[entry[2][at]] = entry[2][at + 1]
  end
end
if fields.d ~= ARGV[5] then
  return {'lost'}
end
if sketch[2] ~= (ARGV[8] == '1' and KEYS[4] or '') then
  return {'changed'}
end
if redis.call('HLEN', KEYS[3]) ~= tonumber(ARGV[6]) then
  return {'incomplete'}
end
redis.call('PERSIST', KEYS[3])
redis.call('HSET', KEYS[1], 'P', ARGV[4], 'D', ARGV[5], 'B', KEYS[3], 'N', ARGV[6],
  'fb', fields.b, 'fc', fields.c)
if ARGV[7] ~= '1' then
  redis.call('HSET', KEYS[1], 'x', '0')
end
if ARGV[8] == '1' then
  redis.call('UNLINK', KEYS[4])
end
return {'ok'}
