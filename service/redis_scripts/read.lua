-- Entries after (position, digest), or the checkpoint and the entries after that.
--
-- KEYS: sketch, log. ARGV: incarnation, now, position, digest, max_bytes, '1' to have
-- something to WAIT for (a master that was replaced without noticing has no replica to confirm
-- it), how many entries at most.
-- Returns {'ok', head, checkpoint or {}, the first entry's position, entries}, or a refusal. The
-- checkpoint is {position, digest, key of its state, chunks}; each entry is four values, its id,
-- its payload, and key and chunks of its attachment or ''. Large parts are read afterwards.
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
local first = position + 1
while position < head and position + 1 - first < tonumber(ARGV[7]) do
  -- As many as are likely to fit, so that little is read in vain.
  local read = position + 1 - first
  local count = 1
  if largest > 0 then
    count = math.max(1, math.min(tonumber(ARGV[7]) - read, math.floor(left / largest), 4 * read))
  end
  local some = redis.call('XRANGE', KEYS[2], string.format('%.0f-0', position + 1), '+', 'COUNT', count)
  for _, entry in ipairs(some) do
    if entry[1] ~= string.format('%.0f-0', position + 1) then
      return {'torn', entry[1]}
    end
    local fields = {}
    for at = 1, #entry[2], 2 do
      fields[entry[2][at]] = entry[2][at + 1]
    end
    local size = tonumber(fields.z or #fields.p)
    left = left - size
    if left < 0 and position >= first then
      return {'ok', sketch[1], checkpoint, first, entries}
    end
    largest = math.max(largest, size, 1)
    local last = #entries
    entries[last + 1], entries[last + 2] = fields.i, fields.p
    entries[last + 3], entries[last + 4] = fields.a or '', fields.n or ''
    position = position + 1
  end
  if #some == 0 then
    return {'torn', string.format('%.0f-0', position + 1)}
  end
end
return {'ok', sketch[1], checkpoint, first, entries}
