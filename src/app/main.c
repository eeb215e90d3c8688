/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"
#include "crypto/crypto.h"

int main(int argc, char **argv)
{
    /* Verbs hash too: a configuration's certificates are looked at. Who cannot, finds out there. */
    enum err ignored = crypto_start();
    (void)ignored;
    return cli_main(argc, argv);
}
