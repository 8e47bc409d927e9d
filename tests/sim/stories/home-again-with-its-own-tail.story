# A region comes back from a failover with rows that nobody else has, and is made home again before they are
# repaired.
bug OWN_TAIL
breaks tail first
seed 49
minutes 10
times 8
failover automatic
region us clock -55000 postgres 1000 disk 3330
region eu clock 55000 postgres 2000 disk 2148
region ap clock -55000 postgres 2000 disk 2481
class orders quorum home us replicas 7 allowed 5
class events async home us replicas 7 allowed 7
class accounts async home us replicas 5 allowed 5
link eu us delay 69000 jitter 3451 duplicate 0 reorder 0
link ap us delay 29000 jitter 1451 duplicate 0 reorder 0
link ap eu delay 16000 jitter 801 duplicate 0 reorder 0
habits clients 9328000 status 1992000 tick 3704000 images 150 trailing 6 reorders 0
at 51.057608 for 173.552298 us ap 1 0: isolated
at 177.038512 for 161.559216 ap eu 0 0: disk full
