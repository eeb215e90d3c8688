/* SPDX-License-Identifier: MIT */
/* Root gives its power up: to `run_as`, or to the user tandem where there is one.
 *
 * Files are made while acting as that user already, so that all in the data folder is his and
 * nothing in it is ever touched with root's power (it is his: a link in it could lead anywhere).
 * Ports are opened as root, for those below 1024. Then the power goes for good. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/daemon_priv.h"

static int fail(const char *what, const char *user)
{
    LOG_ERROR("daemon", "start.failed", F_STR("what", what), F_STR("user", user));
    return 3;
}

int user_find(struct daemon *d)
{
    char name[64] = "tandem";
    struct buf b;
    if (d->config->run_as.n) {
        buf_init(&b, name, sizeof(name));
        buf_put(&b, d->config->run_as);
        buf_char(&b, '\0');
        if (b.rc)
            return fail("run_as is too long", "");
    }
    errno = 0;
    struct passwd *pw = getpwnam(name);
    if (geteuid() != 0) {
        if (d->config->run_as.n && (!pw || pw->pw_uid != geteuid()))
            return fail("run_as needs root to start", name);
        return 0;
    }
    if (!pw && d->config->run_as.n)
        return fail("run_as names no user of this machine", name);
    if (!pw) {
        if (d->mode != DAEMON_OFFLINE)
            LOG_WARN("daemon", "user", F_STR("name", "root"),
                     F_STR("why", "there is no user tandem, and run_as names nobody: add a user "
                                  "(useradd --system tandem), or name one in run_as"));
        return 0;
    }
    d->uid = pw->pw_uid;
    d->gid = pw->pw_gid;
    if (d->uid && initgroups(name, pw->pw_gid) != 0)
        return fail("the groups of run_as cannot be taken", name);
    return 0;
}

int user_enter(struct daemon *d)
{
    if (d->uid && (setegid(d->gid) != 0 || seteuid(d->uid) != 0))
        return fail("the rights of root cannot be given up", "");
    return 0;
}

int user_leave(struct daemon *d)
{
    if (d->uid && (seteuid(0) != 0 || setegid(0) != 0))
        return fail("the rights of root cannot be taken again", "");
    return 0;
}

int user_become(struct daemon *d)
{
    if (!d->uid)
        return 0;
    /* From root, since only root's setuid sets the saved ids too. */
    if (setgid(d->gid) != 0 || setuid(d->uid) != 0 || setuid(0) == 0)
        return fail("the rights of root cannot be given up", "");
    LOG_INFO("daemon", "user", F_INT("uid", d->uid), F_INT("gid", d->gid));
    return 0;
}
