# A commit of a region that is being replaced is held up after its last check, for longer than it takes the
# region to come back, have its lost tail repaired and be made home again.
bug HELD_UP
breaks tail first
seed 5652
minutes 10
times 8
failover automatic
region us clock 55000 postgres 1000 disk 2785
region eu clock -55000 postgres 1000 disk 4823
region ap clock 55000 postgres 1000 disk 2617
class orders quorum home us replicas 7 allowed 7
class events async home us replicas 7 allowed 7
class accounts async home us replicas 3 allowed 3
link eu us delay 2000 jitter 101 duplicate 0 reorder 0
link ap us delay 60000 jitter 3001 duplicate 0 reorder 0
link ap eu delay 120000 jitter 6001 duplicate 0 reorder 0
habits clients 7816000 status 4176000 tick 2912000 images 0 trailing 27 reorders 0
at 49.738353 for 49.348603 eu ap 0 0: paused
at 28.647721 for 23.270182 us eu 1 0: operator drains it
at 139.816866 for 47.542428 eu ap 1 0: paused
at 110.055613 for 108.384633 eu ap 2 82280000: commits held up after their check
