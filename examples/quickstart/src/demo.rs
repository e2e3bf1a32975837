//! The dependencies of the quickstart, and how to break them.

use std::{
    env, fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{Router, extract, http::StatusCode, routing::get};
use redb::{DatabaseError, Durability, StorageError, TableDefinition};
use tokio::{net::TcpListener, task::JoinHandle};
use tower_health::{BoxError, Failure};

/// The orders of the service, by number.
const ORDERS: TableDefinition<'static, u64, &'static str> = TableDefinition::new("orders");

/// The file can be open only once at a time.
static OPEN: Mutex<()> = Mutex::new(());

/// Inserts an order, and rolls the transaction back.
pub(crate) fn roll_back_an_order(file: &Path) -> Result<(), Failure> {
    let _open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    // The file is opened each time, because an open handle outlives its file.
    let database = redb::Database::open(file).map_err(|error| match error {
        DatabaseError::Storage(StorageError::Io(error)) => Failure::from(error),
        error => error.into(),
    })?;
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::None);
    transaction.open_table(ORDERS)?.insert(0, "probe")?;
    Ok(transaction.abort()?)
}

fn create(file: &Path) -> Result<(), BoxError> {
    let _open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    let database = redb::Database::create(file)?;
    let transaction = database.begin_write()?;
    transaction.open_table(ORDERS)?;
    Ok(transaction.commit()?)
}

/// The dependencies, and how to break them.
pub(crate) struct Demo {
    pub(crate) file: PathBuf,
    pub(crate) upstream: SocketAddr,
    serving: Mutex<Option<JoinHandle<io::Result<()>>>>,
    least_free: AtomicU64,
}

impl Demo {
    pub(crate) async fn new(port: u16) -> Result<Self, BoxError> {
        let directory = env::temp_dir().join(format!("tower-health-quickstart-{port}"));
        fs::create_dir_all(&directory)?;
        let demo = Self {
            file: directory.join("orders.redb"),
            // A free port. Whether anything listens on it is decided below.
            upstream: TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .await?
                .local_addr()?,
            serving: Mutex::default(),
            least_free: AtomicU64::new(0),
        };
        for thing in ["database", "upstream", "disk"] {
            if thing != "upstream" || env::var("QUICKSTART_UPSTREAM").as_deref() != Ok("down") {
                demo.mend(thing).await?;
            }
        }
        Ok(demo)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.file.parent().unwrap_or(&self.file)
    }

    /// Returns the minimum of free disk space, in bytes.
    pub(crate) fn least_free(&self) -> u64 {
        self.least_free.load(Ordering::Relaxed)
    }

    async fn mend(&self, thing: &str) -> Result<(), BoxError> {
        match thing {
            "database" => create(&self.file)?,
            "upstream" => {
                self.wreck("upstream").await?;
                let listener = TcpListener::bind(self.upstream).await?;
                let app = Router::new().route("/", get(|| async { "here I am" }));
                let task = tokio::spawn(async { axum::serve(listener, app).await });
                *self.serving.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
            }
            _ => self.least_free.store(0, Ordering::Relaxed),
        }
        Ok(())
    }

    async fn wreck(&self, thing: &str) -> Result<(), BoxError> {
        match thing {
            "database" => match fs::remove_file(&self.file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            },
            "upstream" => {
                let task = self
                    .serving
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take();
                if let Some(task) = task {
                    task.abort();
                    _ = task.await;
                }
            }
            _ => self.least_free.store(u64::MAX, Ordering::Relaxed),
        }
        Ok(())
    }
}

/// `POST /demo/{action}/{thing}`
pub(crate) async fn act(
    extract::State(demo): extract::State<Arc<Demo>>,
    extract::Path((action, thing)): extract::Path<(String, String)>,
) -> (StatusCode, String) {
    let done = match (action.as_str(), thing.as_str()) {
        ("break", "database" | "upstream" | "disk") => demo.wreck(&thing).await,
        ("mend", "database" | "upstream" | "disk") => demo.mend(&thing).await,
        _ => {
            return (
                StatusCode::NOT_FOUND,
                "break or mend database, upstream or disk\n".to_owned(),
            );
        }
    };
    match done {
        Ok(()) => (StatusCode::OK, format!("{action} {thing}: done\n")),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}
