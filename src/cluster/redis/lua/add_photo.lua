-- KEYS: jobs, the other jobs. ARGV: how many there may be, node to answer, number of the question, for how long an answer is of use (ms), payload,
-- how long all are kept once nobody adds any (ms).
-- Returns what names the job, or nothing if there is no room.
if redis.call('XLEN', KEYS[1]) + redis.call('XLEN', KEYS[2]) >= tonumber(ARGV[1]) then return '' end
local time = redis.call('TIME')
local deadline = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[4])
local job = redis.call('XADD', KEYS[1], '*', 'node', ARGV[2], 'question', ARGV[3], 'deadline', deadline, 'payload', ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[6])
return job
