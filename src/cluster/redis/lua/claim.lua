-- KEYS: owner of a session. ARGV: who claims it, a dead node from which it may be taken or nothing, how long it is kept (ms).
-- Returns nothing when it is the claimer's now, or whose it is.
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] and held ~= ARGV[2] then return held end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
return ''
