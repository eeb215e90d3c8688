/* SPDX-License-Identifier: MIT */
/* cli/cli.h: the command line: tandem VERB.                                     layer: app
 *
 * Shape   verbs.def and options.def are the tables behind help, manual page, completion and
 * parsing. Verbs that ask the running server speak HTTP over its Unix socket. Exit    0 · 1 the
 * answer is no · 2 usage · 3 could not ask or start. Threads main thread.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

int cli_main(int argc, char **argv);

#endif
