//! Drives the Rust checkpoint store for the tests: one JSON request per line in, one JSON answer per line out.

use std::{
    collections::HashMap,
    error::Error,
    io::{stdin, BufRead},
    sync::Arc,
};

use azure_core::http::{Etag, Url};
use azure_messaging_eventhubs::{
    models::{Checkpoint, Ownership},
    CheckpointStore,
};
use azure_messaging_eventhubs_checkpointstore_blob::BlobCheckpointStore;
use azure_storage_blob::BlobContainerClient;
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Request {
    call: String,
    container: String,
    namespace: String,
    hub: String,
    group: String,
    #[serde(default)]
    ownerships: Vec<WireOwnership>,
    #[serde(default)]
    checkpoints: Vec<WireCheckpoint>,
}

#[derive(Default, Serialize)]
struct Reply {
    ownerships: Vec<WireOwnership>,
    checkpoints: Vec<WireCheckpoint>,
    error: String,
}

#[derive(Deserialize, Serialize)]
struct WireOwnership {
    partition: String,
    owner: Option<String>,
    etag: Option<String>,
    modified: Option<i64>,
}

/// Has its number as text, as all drivers.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct WireCheckpoint {
    partition: String,
    offset: Option<String>,
    sequence_number: Option<String>,
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

impl Request {
    fn ownership(&self, o: &WireOwnership) -> Ownership {
        Ownership {
            fully_qualified_namespace: self.namespace.clone(),
            event_hub_name: self.hub.clone(),
            consumer_group: self.group.clone(),
            partition_id: o.partition.clone(),
            owner_id: o.owner.clone(),
            etag: o.etag.clone().map(Etag::from),
            ..Default::default()
        }
    }

    fn checkpoint(&self, c: &WireCheckpoint) -> Result<Checkpoint> {
        Ok(Checkpoint {
            fully_qualified_namespace: self.namespace.clone(),
            event_hub_name: self.hub.clone(),
            consumer_group: self.group.clone(),
            partition_id: c.partition.clone(),
            offset: c.offset.clone(),
            sequence_number: c.sequence_number.as_deref().map(str::parse).transpose()?,
        })
    }
}

/// The stores by container. The URL of the account has a SAS: the client takes no shared key.
struct Driver {
    account: Url,
    stores: HashMap<String, Arc<BlobCheckpointStore>>,
}

impl Driver {
    fn store(&mut self, container: &str) -> Result<Arc<BlobCheckpointStore>> {
        if let Some(store) = self.stores.get(container) {
            return Ok(store.clone());
        }
        let mut url = self.account.clone();
        url.path_segments_mut()
            .map_err(|()| "the account's URL is no base")?
            .pop_if_empty()
            .push(container);
        let store = BlobCheckpointStore::new(BlobContainerClient::new(url, None, None)?);
        self.stores.insert(container.to_string(), store.clone());
        Ok(store)
    }

    async fn answer(&mut self, line: &str) -> Result<Reply> {
        let r: Request = serde_json::from_str(line)?;
        let store = self.store(&r.container)?;
        match r.call.as_str() {
            "list-ownership" => {
                let found = store
                    .list_ownerships(&r.namespace, &r.hub, &r.group)
                    .await?;
                Ok(ownerships(found))
            }
            // The package has no call that relinquishes, and its processor does not: an owner that is None is one
            // that its load balancer takes for none.
            "claim" | "relinquish" => {
                let asked: Vec<_> = r.ownerships.iter().map(|o| r.ownership(o)).collect();
                Ok(ownerships(store.claim_ownership(&asked).await?))
            }
            "update-checkpoint" => {
                for c in &r.checkpoints {
                    store.update_checkpoint(r.checkpoint(c)?).await?;
                }
                Ok(Reply::default())
            }
            "list-checkpoints" => {
                let found = store
                    .list_checkpoints(&r.namespace, &r.hub, &r.group)
                    .await?;
                Ok(checkpoints(found))
            }
            call => Err(format!("unknown call {call}").into()),
        }
    }
}

fn ownerships(found: Vec<Ownership>) -> Reply {
    Reply {
        ownerships: found
            .into_iter()
            .map(|o| WireOwnership {
                partition: o.partition_id,
                owner: o.owner_id,
                etag: o.etag.map(|e| e.to_string()),
                modified: o.last_modified_time.map(|t| t.unix_timestamp()),
            })
            .collect(),
        ..Default::default()
    }
}

fn checkpoints(found: Vec<Checkpoint>) -> Reply {
    Reply {
        checkpoints: found
            .into_iter()
            .map(|c| WireCheckpoint {
                partition: c.partition_id,
                offset: c.offset,
                sequence_number: c.sequence_number.map(|n| n.to_string()),
            })
            .collect(),
        ..Default::default()
    }
}

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut driver = Driver {
        account: Url::parse(&std::env::var("INTEROP_SAS_URL")?)?,
        stores: HashMap::new(),
    };
    for line in stdin().lock().lines() {
        let reply = runtime
            .block_on(driver.answer(&line?))
            .unwrap_or_else(|error| Reply {
                error: error
                    .to_string()
                    .split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" "),
                ..Default::default()
            });
        println!("{}", serde_json::to_string(&reply)?);
    }
    Ok(())
}
