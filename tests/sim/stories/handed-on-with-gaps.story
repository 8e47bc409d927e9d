# A region is brought forward in the stream of a lost home by one that does not carry all classes that the two
# share, and never asks again for what that one left out.
bug GAPS
breaks accounted
seed 17
minutes 10
times 8
failover automatic
region us clock 119 postgres 2000 disk 3522
region eu clock -45 postgres 2000 disk 1156
region ap clock -137 postgres 3000 disk 4917
class orders quorum home us replicas 7 allowed 7
class events async home us replicas 7 allowed 7
class accounts async home us replicas 5 allowed 5
link eu us delay 5000 jitter 251 duplicate 0 reorder 0
link ap us delay 23000 jitter 1151 duplicate 0 reorder 0
link ap eu delay 96000 jitter 4801 duplicate 0 reorder 0
habits clients 3840000 status 3464000 tick 4160000 images 89 trailing 6 reorders 0
at 347.284537 for 140.576310 ap us 1 0: machine killed
at 388.072323 for 301.625967 eu ap 0 0: machine killed
