# Of what is vacant nobody can take the next epoch: the only one left has not been repaired up to where a cut would
# be. A region that has no copy is further than that, and was taken for the cut: a failover began and ended in vain
# twelve times a second, until the receipts that say what is not repaired were pruned.
bug STRANGERS_CUT
breaks no flapping
seed 1007628
minutes 10
times 4
failover automatic
region us clock -55000 postgres 5000 disk 4481
region eu clock 55000 postgres 10000 disk 4099
region ap clock -55000 postgres 3000 disk 4828
class orders quorum home us replicas 7 allowed 7
class events async home us replicas 7 allowed 7
class accounts async home eu replicas 6 allowed 6
link eu us delay 4000 jitter 201 duplicate 0 reorder 0
link ap us delay 30000 jitter 1501 duplicate 0 reorder 0
link ap eu delay 111000 jitter 5551 duplicate 0 reorder 0
habits clients 3828000 status 852000 tick 1604000 images 59 trailing 45 reorders 0
at 108.636533 for 105.049419 eu ap 1 0: agent killed
at 31.470021 for 52.501569 us eu 1 2: network split
at 21.699639 for 9.291269 ap us 1 5: network split
at 211.963790 for 111.458881 us eu 2 3: network split
at 19.893652 for 86.056214 eu us 2 0: agent killed
