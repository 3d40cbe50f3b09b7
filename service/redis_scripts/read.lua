-- Entries after (position, digest), or the checkpoint and the entries after that.
--
-- KEYS: sketch, log. ARGV: incarnation, now, position, digest, max_bytes, '1' to have
-- something to WAIT for: a master that was replaced without noticing has no replica to confirm it.
-- Returns {'ok', head, checkpoint or {}, entries as XRANGE has them}; the checkpoint is
-- {position, digest, key of its state, chunks}. Large parts are read by their keys afterwards.
local found, refusal = alive(ARGV[1], ARGV[2])
if not found then
  return refusal
end
local sketch = redis.call('HMGET', KEYS[1], 'p', 'd', 'P', 'D', 'B', 'N')
if ARGV[6] == '1' then
  redis.call('HSET', KEYS[1], 'p', sketch[1])
end
local head, folded = tonumber(sketch[1]), tonumber(sketch[3])
local position, digest, left = tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])

local function field(entry, name)
  for at = 1, #entry[2], 2 do
    if entry[2][at] == name then
      return entry[2][at + 1]
    end
  end
end

local function digest_at(at)
  if at == head then
    return sketch[2]
  elseif at == folded then
    return sketch[4]
  elseif folded < at and at < head then
    local id = string.format('%.0f-0', at)
    local entries = redis.call('XRANGE', KEYS[2], id, id)
    return entries[1] and field(entries[1], 'd')
  end
end

local checkpoint = {}
-- A position before the checkpoint has been trimmed or will be, and a head is never before it.
if position < folded or digest_at(position) ~= digest then
  checkpoint = {sketch[3], sketch[4], sketch[5], sketch[6]}
  position = folded
end

local entries = {}
local largest = 0
while position < head do
  -- As many as are likely to fit, so that little is read in vain.
  local count = 1
  if largest > 0 then
    count = math.max(1, math.min(512, math.floor(left / largest), 4 * #entries))
  end
  local some = redis.call('XRANGE', KEYS[2], string.format('%.0f-0', position + 1), '+', 'COUNT', count)
  if #some == 0 then
    break
  end
  for _, entry in ipairs(some) do
    local size = tonumber(field(entry, 'z') or #field(entry, 'p'))
    left = left - size
    if #entries > 0 and left < 0 then
      return {'ok', sketch[1], checkpoint, entries}
    end
    largest = math.max(largest, size, 1)
    entries[#entries + 1] = entry
    position = position + 1
  end
end
return {'ok', sketch[1], checkpoint, entries}
