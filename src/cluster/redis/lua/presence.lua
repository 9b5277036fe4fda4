-- The table of src/cluster/presence.rs for one learner, with the same rules in the same order; a property test holds the
-- two to each other.
-- KEYS: the learner's table.
-- ARGV: session, platform, whether it has reported before (0 or 1), whether it plays on (0 or 1), when it leaves or nothing, how
--       long the table is kept (ms), bounds (pause bridged, alone ends, remembered, stretches kept), number of stretches, from
--       and to of each, number of logged overlaps, the other session, its platform, from and to of each.
-- Returns: known (0 or 1), whether another plays on (0 or 1), ms of the overlap under way or -1, the others, the overlaps as the
--       other session, its platform, from and to of each.
local session, platform, continues = ARGV[1], ARGV[2], ARGV[3] == '1'
local plays_on, left_at, kept_ms = ARGV[4] == '1', tonumber(ARGV[5]), ARGV[6]
local pause_bridged, alone_ends = tonumber(ARGV[7]), tonumber(ARGV[8])
local remembered, stretches_kept = tonumber(ARGV[9]), tonumber(ARGV[10])
local next_argument = 11
local function argument()
  next_argument = next_argument + 1
  return ARGV[next_argument - 1]
end

local packed = redis.call('GET', KEYS[1])
local stretches_told = tonumber(argument())
local is_here = stretches_told > 0 or plays_on
if not packed and not is_here then return {0, 0, -1, {}, {}} end
local sessions, overlaps, untold = {}, {}, {}
if packed then sessions, overlaps, untold = cmsgpack.unpack(packed) end

local function keep(list, wanted)
  local kept, others = {}, {}
  for _, one in ipairs(list) do table.insert(wanted(one) and kept or others, one) end
  return kept, others
end
local function find(name)
  for _, one in ipairs(sessions) do if one.session == name then return one end end
end
local function is_mine(open) return open.one == session or open.other == session end

local function grow(other, from, to)
  local one = session
  if other < one then one, other = other, one end
  for _, open in ipairs(overlaps) do
    if open.one == one and open.other == other then
      if from - open.to >= pause_bridged then
        local ended = {one = one, other = other, from = open.from, to = open.to}
        open.from, open.to = from, to
        return ended
      end
      open.from, open.to = math.min(open.from, from), math.max(open.to, to)
      return nil
    end
  end
  table.insert(overlaps, {one = one, other = other, from = from, to = to})
end

local function note(ended)
  local function platform_of(name)
    local found = find(name)
    return found and found.platform or ''
  end
  for _, open in ipairs(ended) do
    table.insert(untold, {session = open.one, with = open.other, platform = platform_of(open.other), from = open.from, to = open.to})
    table.insert(untold, {session = open.other, with = open.one, platform = platform_of(open.one), from = open.from, to = open.to})
  end
end

local function arrive()
  local present = find(session)
  if not present then
    present = {session = session, platform = platform, stretches = {}}
    table.insert(sessions, present)
  end
  present.left = nil
end

local function extend(from, to)
  local present = find(session)
  if present.reported and present.reported > from then from = present.reported end
  if from >= to then return nil end
  present.reported = to
  local last = present.stretches[#present.stretches]
  if last and from - last[2] < pause_bridged then
    last[2] = to
  else
    table.insert(present.stretches, {from, to})
  end
  if #present.stretches > stretches_kept then table.remove(present.stretches, 1) end
  return from
end

local function meet(from, to)
  local ended = {}
  for _, other in ipairs(sessions) do
    if other.session ~= session then
      for _, stretch in ipairs(other.stretches) do
        local common_from, common_to = math.max(from, stretch[1]), math.min(to, stretch[2])
        if common_from < common_to then
          local over = grow(other.session, common_from, common_to)
          if over then table.insert(ended, over) end
        end
      end
    end
  end
  local over
  over, overlaps = keep(overlaps, function(open) return is_mine(open) and to - open.to >= alone_ends end)
  for _, open in ipairs(over) do table.insert(ended, open) end
  note(ended)
end

local known = find(session) and 1 or 0
if continues and known == 0 then return {0, 0, -1, {}, {}} end

local stretches = {}
for _ = 1, stretches_told do
  local from = tonumber(argument())
  table.insert(stretches, {from, tonumber(argument())})
end
for _ = 1, tonumber(argument()) do
  local with, with_platform, from = argument(), argument(), tonumber(argument())
  local to = tonumber(argument())
  untold = keep(untold, function(one)
    return not (one.session == session and one.with == with and one.platform == with_platform and one.from == from and one.to == to)
  end)
end

if is_here then arrive() end
for _, stretch in ipairs(stretches) do
  local from, to = stretch[1], stretch[2]
  sessions = keep(sessions, function(one) return not one.left or one.left >= from - remembered end)
  from = extend(from, to)
  if from then meet(from, to) end
end
if left_at then
  local ended
  ended, overlaps = keep(overlaps, is_mine)
  note(ended)
end
local mine = {}
for _, one in ipairs(untold) do
  if one.session == session then
    for _, value in ipairs({one.with, one.platform, one.from, one.to}) do table.insert(mine, value) end
  end
end
local accompanied = false
for _, one in ipairs(sessions) do
  if one.session ~= session and one.plays_on then accompanied = true end
end
local present = find(session)
if present then
  present.left = left_at or present.left
  present.plays_on = plays_on and not present.left
  present.accompanied = accompanied
end

untold = keep(untold, function(one)
  local here = find(one.session)
  return here and not here.left
end)
local others, seen = {}, {}
for _, one in ipairs(untold) do
  if one.session ~= session and not seen[one.session] then
    seen[one.session] = true
    table.insert(others, one.session)
  end
end
if plays_on then
  for _, one in ipairs(sessions) do
    if one.session ~= session and one.plays_on and not one.accompanied and not seen[one.session] then
      table.insert(others, one.session)
    end
  end
end
local overlapping = -1
for _, open in ipairs(overlaps) do
  if is_mine(open) then overlapping = math.max(overlapping, open.to - open.from) end
end

local here = keep(sessions, function(one) return not one.left end)
if #here == 0 then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], cmsgpack.pack(sessions, overlaps, untold), 'PX', kept_ms)
end
return {known, accompanied and 1 or 0, overlapping, others, mine}
