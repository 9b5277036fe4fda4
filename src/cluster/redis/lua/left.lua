-- KEYS: jobs. ARGV: deadline (ms). Returns how many ms are left by the clock of whoever holds the jobs.
local time = redis.call('TIME')
return tonumber(ARGV[1]) - (time[1] * 1000 + math.floor(time[2] / 1000))
