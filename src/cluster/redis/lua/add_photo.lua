-- KEYS: jobs. ARGV: how many there may be, node to answer, number of the question, deadline (ms), payload.
-- Returns 0 if there is no room.
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('XADD', KEYS[1], '*', 'node', ARGV[2], 'question', ARGV[3], 'deadline', ARGV[4], 'payload', ARGV[5])
return 1
