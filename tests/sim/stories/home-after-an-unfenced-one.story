# A failover goes on without a region that is down and holds writes past the cut; that region is home next,
# before anybody has verified it, and hands over to the region that lost them. Both have the same rows.
shows class=events partition=all region=eu epoch=5 prev=us reason=move
seed 3521
minutes 10
times 4
failover automatic
region us clock -80 postgres 5000 disk 2877
region eu clock 158 postgres 5000 disk 3778
region ap clock -166 postgres 1000 disk 2054
class orders quorum home us replicas 7 allowed 5
class events async home us replicas 7 allowed 7
link eu us delay 110000 jitter 5501 duplicate 2 reorder 75
link ap us delay 84000 jitter 4201 duplicate 9 reorder 158
link ap eu delay 104000 jitter 5201 duplicate 35 reorder 179
habits clients 2524000 status 1032000 tick 904000 images 62 trailing 17 reorders 1
at 237.976243 for 144.033172 ap eu 0 0: disk full
at 180.097398 for 111.836288 eu us 0 0: link cut one way
at 201.057319 for 23.633241 us ap 1 0: PostgreSQL killed
at 56.161692 for 48.326697 ap eu 0 0: link cut one way
at 184.145731 for 18.907921 ap eu 1 0: disk full
at 206.173774 for 60.223524 eu ap 0 0: disk full
at 55.917255 for 141.505406 us eu 0 0: operator drains it
at 100.349025 for 12.810882 eu us 0 0: link cut
at 101.473419 for 17.754638 ap us 0 0: link cut
at 107.078512 for 108.116536 ap eu 1 4: network split
at 78.142936 for 4.778660 us ap 0 6780000: PostgreSQL slow
