/*
 * `meridian sim` alone, for builds that need nothing else.
 */
#include "sim.h"

int main(int argc, char **argv)
{
    return cli_sim(argc, argv);
}
