//! Breadth first through every state, each visited once.
//!
//! Two questions: is a promise broken on any edge (then the path to it is the
//! shortest one), and is there a state from which, without another fault, no
//! good state can be reached. The second is why this is not a library: model
//! checkers ask what happens on every path, and "every path" of a fleet holds one
//! on which no handler ever ends. What matters is that the way out is there.

use std::collections::{HashMap, VecDeque, hash_map::Entry};

use super::{World, steps::Step};

/// What a search saw.
#[derive(Debug, Default)]
pub(super) struct Searched {
    pub(super) states: usize,
    pub(super) edges: usize,
    /// Every state up to this many steps from the first was visited.
    pub(super) depth: usize,
    /// Whether there is no other state.
    pub(super) complete: bool,
    /// What is wrong, and how to get there.
    pub(super) broken: Option<String>,
}

struct Node {
    from: u32,
    by: Option<Step>,
    depth: u16,
    good: bool,
}

/// Visits at most about `most` states.
pub(super) fn search(first: &World, most: usize) -> Searched {
    let mut known = HashMap::from([(first.identity(), 0_u32)]);
    let mut nodes = vec![Node {
        from: 0,
        by: None,
        depth: 0,
        good: first.is_good(),
    }];
    // Edges that are no faults, to look back along.
    let mut free = Vec::new();
    let mut open = VecDeque::from([(0_u32, first.clone())]);
    let mut searched = Searched::default();
    while nodes.len() < most
        && let Some((at, world)) = open.pop_front()
    {
        let depth = nodes[at as usize].depth;
        let mut steps = VecDeque::from(world.steps());
        while let Some(step) = steps.pop_front() {
            let next = world.after(step);
            searched.edges += 1;
            world.add_deaths_within(step, &next, &mut steps);
            if let Some(why) = &next.broken {
                let mut path = path_to(&nodes, at);
                path.push(step);
                searched.broken = Some(told(first, &path, why));
                searched.states = nodes.len();
                return searched;
            }
            let to = match known.entry(next.identity()) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(place) => {
                    let number = u32::try_from(nodes.len()).unwrap();
                    place.insert(number);
                    nodes.push(Node {
                        from: at,
                        by: Some(step),
                        depth: depth + 1,
                        good: next.is_good(),
                    });
                    open.push_back((number, next));
                    number
                }
            };
            if !step.is_fault() && to != at {
                free.push((to, at));
            }
        }
    }
    searched.states = nodes.len();
    searched.complete = open.is_empty();
    let last = open.front().map(|(at, _)| nodes[*at as usize].depth);
    let deepest = nodes.iter().map(|node| node.depth).max().unwrap_or(0);
    searched.depth = usize::from(last.unwrap_or(deepest));
    // Of what was not gone on from, nothing is known.
    for (at, _) in &open {
        nodes[*at as usize].good = true;
    }
    if let Some(stuck) = first_stuck(&nodes, free) {
        let path = path_to(&nodes, stuck);
        searched.broken = Some(told(first, &path, "from here no way leads out"));
    }
    searched
}

/// The first state from which no good one can be reached.
fn first_stuck(nodes: &[Node], mut free: Vec<(u32, u32)>) -> Option<u32> {
    free.sort_unstable();
    let mut leads_out: Vec<_> = nodes.iter().map(|node| node.good).collect();
    let good = leads_out.iter().enumerate().filter(|(_, good)| **good);
    let mut look_at: Vec<_> = good.map(|(at, _)| at as u32).collect();
    while let Some(to) = look_at.pop() {
        let first = free.partition_point(|&(other, _)| other < to);
        for &(_, from) in free[first..].iter().take_while(|edge| edge.0 == to) {
            if !std::mem::replace(&mut leads_out[from as usize], true) {
                look_at.push(from);
            }
        }
    }
    let stuck = leads_out.iter().position(|leads_out| !leads_out);
    stuck.map(|at| at as u32)
}

fn path_to(nodes: &[Node], mut at: u32) -> Vec<Step> {
    let mut path = Vec::new();
    while let Some(step) = nodes[at as usize].by {
        path.push(step);
        at = nodes[at as usize].from;
    }
    path.reverse();
    path
}

/// The whole story of a path.
fn told(first: &World, path: &[Step], why: &str) -> String {
    let mut world = first.clone();
    world.story = Some(Vec::new());
    for &step in path {
        world.note(|| format!("{step:?}"));
        world = world.after(step);
    }
    let story = world.story.take().unwrap_or_default().join("\n");
    format!("{story}\n==> {why}\n{world:#?}")
}
