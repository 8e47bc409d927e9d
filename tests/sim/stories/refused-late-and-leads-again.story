# A leader loses the store and comes to lead it again; only then does it hear, over a slow link, that its older term
# was refused. It went on from whatever that answer said of the other's log, once from the first entry, which the
# model does not keep and an agent with an image would have appended at its end.
shows which leads the store again, hears that
seed 50537
minutes 10
times 8
failover automatic
region us clock -55000 postgres 9000 disk 1644
region eu clock -55000 postgres 6000 disk 1671
region ap clock 55000 postgres 2000 disk 3867
class orders quorum home each replicas 7 allowed 7
class events async home us replicas 7 allowed 7
link eu us delay 1000 jitter 51 duplicate 0 reorder 0
link ap us delay 79000 jitter 3951 duplicate 0 reorder 0
link ap eu delay 53000 jitter 2651 duplicate 0 reorder 0
habits clients 8328000 status 1640000 tick 3392000 images 0 trailing 3 reorders 0
at 81.050430 for 12.635301 us eu 3 0: operator hands the store over
at 142.469030 for 133.286920 ap us 2 0: operator drains it
at 168.400633 for 46.401638 eu us 0 15417339377215546994: clock off its rate
at 92.667096 for 0.678777 ap us 3 0: operator hands the store over
at 261.175680 for 258.565959 us eu 0 21480000: PostgreSQL slow
at 315.298629 for 7.859458 eu us 2 0: agent killed
at 321.400196 for 48.141478 ap eu 3 906000: link slow
at 325.760482 for 47.422660 us ap 2 0: PostgreSQL killed
at 378.610580 for 40.055899 eu us 2 0: operator moves a home
at 385.959239 for 31.337090 eu us 3 1671000: link slow
at 83.495542 for 17.738887 eu ap 1 0: operator moves a home
at 369.425799 for 209.961375 us eu 2 0: PostgreSQL killed
at 400.192659 for 302.917514 ap eu 3 6253025789356397653: clock off its rate
at 90.097402 for 40.572478 eu ap 1 0: operator moves a home
at 141.426078 for 41.178958 eu us 0 0: suspended with its clock
at 88.832666 for 41.420546 eu us 1 0: agent killed
at 134.302552 for 47.230683 eu ap 1 0: PostgreSQL killed
at 189.893212 for 103.144384 eu us 1 0: PostgreSQL killed
at 226.964512 for 43.612242 ap eu 1 0: suspended with its clock
at 238.008406 for 18.571318 eu us 3 0: isolated
at 293.736286 for 38.053957 eu us 1 0: operator hands the store over
at 346.089784 for 28.813661 eu us 0 20560000: PostgreSQL slow
at 400.586704 for 30.895135 ap us 3 0: operator moves a home
at 403.005578 for 312.381260 eu us 1 6800000: PostgreSQL slow
at 359.318863 for 282.202216 ap us 2 5240000: PostgreSQL slow
at 148.551597 for 36.229709 us eu 2 0: suspended with its clock
at 246.069330 for 34.152130 ap eu 3 3982248677241367616: clock off its rate
at 410.274995 for 18.691382 eu ap 0 0: suspended with its clock
at 419.000000 for 34.971479 us ap 2 1153000: link slow
at 419.000000 for 19.832576 ap eu 0 0: operator drains it
at 419.000000 for 155.100495 ap us 3 0: operator drains it
at 419.000000 for 3.998088 us ap 1 18413281344761490019: clock off its rate
at 386.447586 for 154.547964 eu ap 2 0: operator drains it
at 85.573525 for 290.764449 us ap 2 0: PostgreSQL killed
at 88.923726 for 32.955625 ap us 1 0: PostgreSQL killed
at 391.422909 for 7.882519 ap us 2 0: suspended with its clock
at 419.000000 for 132.273634 ap us 3 0: operator hands the store over
at 256.114428 for 7.509932 us eu 2 1847000: link slow
at 265.209108 for 243.438419 ap us 1 0: suspended with its clock
at 218.300044 for 23.925104 ap us 0 0: operator hands the store over
at 268.462205 for 8.174004 us ap 3 1559000: link slow
at 327.978204 for 179.713993 eu ap 0 1713000: link slow
at 334.057348 for 35.058076 ap eu 0 0: machine killed
at 405.374475 for 36.751283 eu ap 2 1138000: link slow
at 19.845946 for 43.764440 ap eu 3 0: PostgreSQL killed
at 54.763518 for 1.029315 ap eu 2 0: operator hands the store over
at 61.039687 for 18.462209 eu ap 3 0: PostgreSQL killed
at 413.375772 for 163.136203 us eu 1 0: suspended with its clock
at 419.000000 for 214.931353 eu us 0 0: operator hands the store over
at 419.000000 for 24.978842 eu us 0 0: operator hands the store over
at 419.000000 for 25.310997 ap us 0 0: operator drains it
at 419.000000 for 301.284783 ap us 3 1647000: link slow
