//! Backups of a running cluster, and clusters that begin with one.
//!
//! Owns: what is in a backup and what is not, and how a file that is none is refused. Does not own: the layout of the file;
//! the storage has that. Invariant: what stands in the restored cluster was written through a door of the first one.

use std::process::{Command, Output};
use std::time::Duration;

use cluster_tests::failure::Outcome;
use cluster_tests::process::{Cluster, Node};
use cluster_tests::reply::Reply;

const KEYS: usize = 3_000;

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.as_bytes().to_vec())
}

fn back_up(cluster: &Cluster, node: &Node) -> Outcome<Output> {
    let file = cluster.folder.path().join("backup");
    let door = format!("http://{}", node.http);
    Ok(Command::new(&cluster.program).arg("backup").arg(file).args(["--http", &door]).output()?)
}

async fn fill(node: &Node) -> Outcome {
    let mut client = node.client().await?;
    for first in (0..KEYS).step_by(100) {
        let words: Vec<String> =
            (first..first + 100).flat_map(|n| [format!("k{n}"), format!("v{n}")]).collect();
        client.ask(&format!("MSET {}", words.join(" "))).await?;
    }
    for line in ["HSET h f v g w", "SADD s 3 1 2", "RPUSH l a b c", "SET due v EX 1000", "INCR n"] {
        client.ask(line).await?;
    }
    client.ask("SELECT 7").await?;
    client.ask("SET other seven").await?;
    client.ask("SELECT 0").await?;
    client.ask("QUORATE.BIND ON NODE").await?;
    client.ask("SET bound v").await?;
    client.ask("HSET h mine v").await?;
    Ok(())
}

async fn check(node: &Node) -> Outcome {
    let mut client = node.client().await?;
    for n in (0..KEYS).step_by(97) {
        assert_eq!(client.ask(&format!("GET k{n}")).await?, bulk(&format!("v{n}")));
    }
    // Keys of the first database, without the one that was bound to a node that is not here.
    assert_eq!(client.ask("DBSIZE").await?, Reply::Integer(3_005));
    assert_eq!(client.ask("EXISTS bound").await?, Reply::Integer(0));
    assert_eq!(client.ask("HLEN h").await?, Reply::Integer(2));
    assert_eq!(client.ask("SISMEMBER s 2").await?, Reply::Integer(1));
    assert_eq!(client.ask("LINDEX l 2").await?, bulk("c"));
    let Reply::Integer(left) = client.ask("TTL due").await? else { panic!("no TTL") };
    assert!((1..=1000).contains(&left), "{left}");
    client.ask("SELECT 7").await?;
    assert_eq!(client.ask("GET other").await?, bulk("seven"));
    Ok(())
}

#[tokio::test]
async fn a_backup_of_a_running_cluster_is_the_beginning_of_another() -> Outcome {
    let first = Cluster::start(2).await?;
    fill(&first.nodes[0]).await?;
    let taken = back_up(&first, &first.nodes[1])?;
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    let file = first.folder.path().join("backup").display().to_string();
    let mut second = Cluster::start_with(1, |_, options, _| {
        options.more.extend(["--restore".to_owned(), file.clone()]);
        Ok(())
    })
    .await?;
    check(&second.nodes[0]).await?;
    // Others join it as they join any cluster, without the backup.
    second.options[0].more.clear();
    second.join().await?;
    second.nodes[1].serves().await?;
    check(&second.nodes[1]).await?;
    assert_eq!(second.nodes[1].client().await?.ask("INCR n").await?, Reply::Integer(2));
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_no_whole_backup_is_refused() -> Outcome {
    let mut cluster = Cluster::start(1).await?;
    fill(&cluster.nodes[0]).await?;
    assert!(back_up(&cluster, &cluster.nodes[0])?.status.success());
    let whole = std::fs::read(cluster.folder.path().join("backup"))?;
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let cut = whole[..whole.len() - 1].to_vec();
    for (name, bytes) in
        [("cut", cut), ("flipped", flipped), ("empty", Vec::new()), ("text", b"no".to_vec())]
    {
        let path = cluster.folder.path().join(name);
        std::fs::write(&path, bytes)?;
        let (code, text) = refused(&cluster, &["--restore", &path.display().to_string()]).await?;
        assert_eq!(code, Some(2), "{name}: {text}");
        assert!(text.contains("cannot restore") && text.contains(name), "{text}");
    }
    let path = cluster.folder.path().join("backup").display().to_string();
    let (code, text) = refused(&cluster, &["--restore", &path, "--seed", "127.0.0.1:1"]).await?;
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("node.seeds"), "{text}");
    // Nobody answers there: no file, and none of the old one's name is touched.
    let door = cluster.nodes[0].http;
    cluster.nodes.clear();
    let path = cluster.folder.path().join("other");
    let output = Command::new(&cluster.program)
        .arg("backup")
        .arg(&path)
        .args(["--http", &format!("http://{door}")])
        .output()?;
    assert_eq!(output.status.code(), Some(1));
    assert!(!path.exists() && !path.with_extension("part").exists());
    Ok(())
}

/// Starts a node with these further arguments; gives its exit code and the end of what it said.
async fn refused(cluster: &Cluster, more: &[&str]) -> Outcome<(Option<i32>, String)> {
    let mut options = cluster.options[0].clone();
    (options.name, options.listen) = ("refused".to_owned(), None);
    options.more = more.iter().map(ToString::to_string).collect();
    let mut process = Node::spawn(&cluster.program, &options, cluster.folder.path())?;
    let status = process.wait(Duration::from_secs(20)).await?;
    Ok((status.code(), process.log_end()))
}
