#![allow(clippy::unwrap_used)]

use tokio::net::UnixStream;

use super::*;

struct Rig {
    _temp: tempfile::TempDir,
    dir: RuntimeDir,
    data_dir: PathBuf,
    keeper: Keeper,
    _sockets: (UnixListener, UnixListener),
}

fn rig(maker: Maker) -> Rig {
    let temp = tempfile::tempdir().unwrap();
    let dir = RuntimeDir::open(&temp.path().join("run")).unwrap();
    let data_dir = temp.path().join("data");
    make_dir("data_dir", &data_dir).unwrap();
    let secret = dir.secret(&data_dir).unwrap();
    fs::write(dir.fleet(), "").unwrap();
    let lock = Lock::take(dir.path()).unwrap();
    let sockets = (
        dir.bind(&dir.slave_socket()).unwrap(),
        dir.bind(&dir.admin_socket()).unwrap(),
    );
    let kept = Kept::default();
    let keeper = Keeper::new(dir.clone(), &data_dir, secret, maker, lock, kept);
    Rig {
        _temp: temp,
        dir,
        data_dir,
        keeper,
        _sockets: sockets,
    }
}

fn empty(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
}

#[tokio::test]
async fn a_directory_as_it_should_be_is_left_alone() {
    let mut rig = rig(Maker::Us);
    let looked = rig.keeper.look();
    assert!(
        looked.back.is_empty() && looked.wrong.is_empty(),
        "{looked:?}"
    );
    assert_eq!(rig.keeper.tell(looked.back, looked.wrong), None);
    assert_eq!(rig.keeper.kept.findings(true)[0].next, None);
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_from_an_emptied_directory_is_there_again_and_told_once() {
    let mut rig = rig(Maker::Us);
    let text = fs::read_to_string(rig.dir.path().join("secret")).unwrap();
    for with_the_directory in [false, true] {
        empty(rig.dir.path());
        if with_the_directory {
            fs::remove_dir(rig.dir.path()).unwrap();
        }
        let looked = rig.keeper.look();
        assert!(looked.wrong.is_empty(), "{looked:?}");
        assert!(looked.fleet, "the journal is asked to write its file");
        let _slave = looked.anew.slave.unwrap();
        let _admin = looked.anew.admin.unwrap();
        UnixStream::connect(rig.dir.slave_socket()).await.unwrap();
        UnixStream::connect(rig.dir.admin_socket()).await.unwrap();
        let secret = fs::read_to_string(rig.dir.path().join("secret")).unwrap();
        assert_eq!(secret, text, "the same one");
        assert_eq!(
            Lock::take(rig.dir.path()).unwrap_err().exit_code(),
            2,
            "no second master"
        );
        let told = rig.keeper.tell(looked.back, looked.wrong).unwrap();
        for name in ["slave.sock", "admin.sock", "secret", "master.lock", "fleet"] {
            assert!(told.contains(name), "{told}");
        }
        fs::write(rig.dir.fleet(), "").unwrap();
        let again = rig.keeper.look();
        assert!(again.back.is_empty(), "{again:?}");
        tokio::time::advance(AGAIN).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_removed_again_and_again_is_made_each_time_and_told_once_a_minute() {
    let mut rig = rig(Maker::Us);
    let mut told = 0;
    for _ in 0..120 {
        fs::remove_file(rig.dir.admin_socket()).unwrap();
        let looked = rig.keeper.look();
        assert!(looked.anew.admin.is_some());
        told += u32::from(rig.keeper.tell(looked.back, looked.wrong).is_some());
        tokio::time::advance(EVERY).await;
    }
    assert_eq!(told, 2);
}

#[tokio::test(start_paused = true)]
async fn the_directory_of_another_master_is_left_to_it_and_that_is_told() {
    let mut rig = rig(Maker::Us);
    empty(rig.dir.path());
    let _lock = Lock::take(rig.dir.path()).unwrap();
    let others = [rig.dir.slave_socket(), rig.dir.admin_socket()];
    let _sockets = others.each_ref().map(|path| rig.dir.bind(path).unwrap());
    let made = others.each_ref().map(|path| file(path));
    for _ in 0..3 {
        let looked = rig.keeper.look();
        assert!(looked.anew.slave.is_none() && looked.anew.admin.is_none());
        assert!(looked.wrong[0].0.contains("another master"), "{looked:?}");
        assert!(!looked.fleet && looked.back.is_empty(), "{looked:?}");
    }
    assert_eq!(others.each_ref().map(|path| file(path)), made);
    let theirs: Vec<_> = fs::read_dir(rig.dir.path()).unwrap().collect();
    assert_eq!(theirs.len(), 3, "nothing of ours: {theirs:?}");
}

#[tokio::test(start_paused = true)]
async fn a_fleets_file_that_the_journal_cannot_write_is_wrong_and_told_once() {
    let mut rig = rig(Maker::Us);
    fs::remove_file(rig.dir.fleet()).unwrap();
    let mut told = Vec::new();
    for _ in 0..3 * LOOKS_TO_WRITE {
        let looked = rig.keeper.look();
        assert!(looked.fleet, "it is asked for again");
        told.extend(rig.keeper.tell(looked.back, looked.wrong));
    }
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[1].contains("not written again"), "{told:?}");
    fs::write(rig.dir.fleet(), "").unwrap();
    let looked = rig.keeper.look();
    assert!(looked.wrong.is_empty(), "{looked:?}");
}

#[tokio::test]
async fn a_secret_that_was_changed_is_told_and_left_and_the_kept_one_is_written_again() {
    let mut rig = rig(Maker::Us);
    let path = rig.dir.path().join("secret");
    let other = Secret::random().unwrap().to_hex();
    fs::write(&path, &other).unwrap();
    fs::remove_file(rig.data_dir.join("secret")).unwrap();
    let looked = rig.keeper.look();
    assert_eq!(fs::read_to_string(&path).unwrap(), other);
    assert!(rig.data_dir.join("secret").exists());
    let told = rig.keeper.tell(looked.back, looked.wrong).unwrap();
    assert!(told.contains("another secret"), "{told}");
    let looked = rig.keeper.look();
    assert_eq!(rig.keeper.tell(looked.back, looked.wrong), None, "once");
    let finding = &rig.keeper.kept.findings(true)[0];
    assert!(finding.detail.contains("another secret"), "{finding:?}");
    fs::remove_file(&path).unwrap();
    let looked = rig.keeper.look();
    assert!(looked.wrong.is_empty(), "{looked:?}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let looked = rig.keeper.look();
    assert!(looked.wrong[0].0.contains("others may read"), "{looked:?}");
}

#[test]
fn a_secret_of_another_beginning_is_a_cause_where_slaves_are_missing_only() {
    let level = |other, missing| Kept::new(other).findings(missing)[0].next.is_some();
    assert!(level(true, true));
    assert!(!level(true, false) && !level(false, true));
}

#[tokio::test]
async fn a_socket_of_the_service_manager_is_not_made_here() {
    let mut rig = rig(Maker::Service);
    fs::remove_file(rig.dir.slave_socket()).unwrap();
    let looked = rig.keeper.look();
    assert!(looked.anew.slave.is_none());
    assert!(looked.wrong[0].1.contains("baton-master.socket"));
}
