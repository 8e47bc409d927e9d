# One home after another is lost, and what the last one wrote is still on its way to the next.
bug NO_TAIL
breaks tail first
seed 898
minutes 10
times 4
failover automatic
region us clock -187 postgres 3000 disk 3714
region eu clock -59 postgres 7000 disk 3808
region ap clock -154 postgres 1000 disk 3123
region sa clock 32 postgres 1000 disk 379
class orders quorum home us replicas 15 allowed 11
class events async home us replicas 15 allowed 15
class accounts async home us replicas 11 allowed 11
link eu us delay 119000 jitter 5951 duplicate 12 reorder 18
link ap us delay 55000 jitter 2751 duplicate 10 reorder 187
link ap eu delay 97000 jitter 4851 duplicate 32 reorder 33
link sa us delay 39000 jitter 1951 duplicate 16 reorder 11
link sa eu delay 74000 jitter 3701 duplicate 5 reorder 63
link sa ap delay 70000 jitter 3501 duplicate 41 reorder 49
habits clients 3332000 status 2000000 tick 896000 images 0 trailing 12 reorders 1
at 121.939281 for 113.028282 us ap 2 31548000: commits held up after their check
at 132.325575 for 21.051633 us ap 0 0: paused
at 252.924344 for 9.583870 us eu 1 0: PostgreSQL killed
at 235.325370 for 139.461410 eu us 2 0: PostgreSQL killed
at 108.899438 for 88.716337 sa ap 0 49: operator dials its traffic
at 222.104834 for 15.701454 sa eu 0 0: PostgreSQL killed
at 41.453418 for 21.054673 sa ap 1 0: PostgreSQL killed
at 118.963398 for 23.126048 us ap 1 903000: link slow
at 94.002351 for 12.762431 eu us 1 0: PostgreSQL killed
