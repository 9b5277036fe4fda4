-- KEYS: leases. ARGV: node. Returns 1 if its lease holds, 0 if it has ended, -1 if nobody knows the node.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score then return -1 end
return tonumber(score) > now and 1 or 0
