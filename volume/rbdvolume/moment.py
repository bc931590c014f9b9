# Clones several images as they all were at one moment: moment.py USER CONF POOL NAMESPACE GROUP [IMAGE BASE CLONE]...
#
# Only a snapshot of a group of images is of one moment: librbd holds all their exclusive locks meanwhile. Before Ceph 19 nobody can
# clone that one. So each image also gets an ordinary snapshot BASE an instant before; CLONE is made from it, and then gets the few
# blocks that were written in between, out of the group's snapshot. The caller removes GROUP and the BASEs.
import sys

import rados
import rbd

CHUNK = 4 << 20


def of_group(image):
    """The identifier of the image's snapshot that the group has."""
    for s in image.list_snaps():
        if s["namespace"] == rbd.RBD_SNAP_NAMESPACE_TYPE_GROUP and s["group"]["name"] == GROUP:
            return s["id"]
    raise rbd.ImageNotFound("no snapshot of group " + GROUP, errno=2)


def catch_up(image, base, clone):
    """Writes to the clone of base what differs in the image's snapshot of the group."""
    image.set_snap_by_id(of_group(image))
    # Which objects have changed, maps of objects tell at once (fast-diff), whatever the size; what of them, the objects do.
    objects, changed = [], []
    image.diff_iterate(0, image.size(), base, lambda *extent: objects.append(extent), whole_object=True)
    for start, length, _ in objects:
        image.diff_iterate(start, length, base, lambda *extent: changed.append(extent))
    for start, length, exists in changed:
        if not exists:
            clone.write_zeroes(start, length)
            continue
        for at in range(start, start + length, CHUNK):
            clone.write(image.read(at, min(CHUNK, start + length - at)), at)
    clone.flush()


def main(ioctx, wanted):
    pool = rbd.RBD()
    pool.group_create(ioctx, GROUP)
    group = rbd.Group(ioctx, GROUP)
    for name in {name for name, _, _ in wanted}:
        group.add_image(ioctx, name)
    for name, base, _ in wanted:
        with rbd.Image(ioctx, name) as image:
            image.create_snap(base)
    group.create_snap("moment")
    for name, base, target in wanted:
        pool.clone(ioctx, name, base, ioctx, target)
        with rbd.Image(ioctx, name, read_only=True) as image, rbd.Image(ioctx, target) as clone:
            catch_up(image, base, clone)


USER, CONF, POOL, NAMESPACE, GROUP = sys.argv[1:6]
options = {"rados_mon_op_timeout": "30", "rbd_default_clone_format": "2"}
try:
    with rados.Rados(name=USER, conffile=CONF, conf=options) as cluster:
        with cluster.open_ioctx(POOL) as ioctx:
            ioctx.set_namespace(NAMESPACE)
            main(ioctx, list(zip(sys.argv[6::3], sys.argv[7::3], sys.argv[8::3])))
except (rbd.Error, rados.Error) as e:
    sys.exit("moment: (%d) %s" % (abs(getattr(e, "errno", None) or 5), e))
