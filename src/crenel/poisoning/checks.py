"""The measurements of risk 2."""

from __future__ import annotations

from crenel.check import Context, Controls, Cost, Measurement, Risk, check
from crenel.poisoning import controls
from crenel.subject import Subject


@check(
    "POI-101",
    risk=Risk.POISONING,
    title="Wrong labels",
    question="Which training labels are wrong, and how many wrong ones would go unnoticed?",
    needs=("model", "classification", "fit", "train"),
    cost=Cost(seconds=1.0, fits=12, least=0.5, sample=6_000, whole=3),
    references=("AML.T0020", "NISTAML.013", "ML02:2023", "AIA:15(5)", "AIA:10", "BIML:data:1"),
    controls=Controls(weak=controls.wrong_labels, sound=controls.right_labels),
)
def wrong_labels(subject: Subject, context: Context) -> Measurement:
    """Which training labels are wrong, and how many wrong ones would go unnoticed.

    Every label is judged by a model that it had no part in. Of forests, boosted trees (of two
    classes) and logistic regressions that is computed without training: out-of-bag votes, leaves
    without the row, one Newton step away from it; on tables with two classes it is averaged with
    boosted trees of crenel's own, whose splits come from the other half of the rows. Any other
    model is trained again five times, each time without a fifth of the rows; where its scores are
    all 0 or 1, or it shows none, the labels of nearest neighbours say how sure it is. Answers of
    trees whose splits saw the label only rank the rows; rate and probabilities come from those that
    did not. The labels are then explained by two numbers: one temperature that makes the models'
    probabilities as sure as they deserve, and the share of labels that were replaced by another
    class. Both are fitted by maximum likelihood;
    the share comes with a profile-likelihood interval, and each label with the probability of
    being wrong. A hard record has a low probability of being wrong, for no class is sure there; a
    contradiction on an easy record has a high one. Labels more likely wrong than right are listed.
    The rate by confident learning stands beside it for comparison; it takes hardness for error.

    Two simulations say what that is worth. Labels drawn from the models' own probabilities are
    right by construction and as hard as the data: what is flagged there is a false alarm, and the
    data's rate must exceed the one estimated there before anything is reported. And labels changed
    on purpose, at four rates, give the curve: the share of wrong labels that go unnoticed.

    Health: models that never saw a label beat the most frequent one; injected labels rank above the
    others; every row was scored; right labels are seldom flagged.

    Limits: labels that no model could predict cannot be told from wrong ones. Wrong labels chosen
    at the border between classes, all of one region, or tied to a pattern that the model learns
    (a trigger) look right to it and go unnoticed: POI-102 and POI-103 measure those. Where one
    class is taken for one other again and again, hardly any single label is more likely wrong
    than right: such rows rank first and are not flagged. Without training the rate comes out up
    to a point higher on a few hundred rows, as on right labels of the same hardness. The
    simulations use at most 6,000 rows.

    References: Northcutt, Jiang and Chuang, "Confident learning", 2021; Guo et al., "On
    calibration of modern neural networks", 2017; Breiman, "Random forests", 2001; Rahnama Rad and
    Maleki, "A scalable estimate of the out-of-sample prediction error via approximate
    leave-one-out cross-validation", 2020; Frenay and Verleysen, "Classification in the
    presence of label noise", 2014.
    """
    from crenel.poisoning.labels import report as label_report
    from crenel.poisoning.labels.review import review_labels, simulate

    model, train = subject.model, subject.train
    assert model is not None
    assert train is not None
    seed = context.derive_seed("folds")
    reviewed = review_labels(model, train, seed, deadline=context.deadline, jobs=context.jobs)
    context.progress(0.4)
    simulated = simulate(model, reviewed, context)
    found = label_report.finding(subject, context, reviewed, simulated)
    notes = [
        f"Labels were judged by {reviewed.predicted.means}.",
        f"What would go unnoticed was simulated on {simulated.rows:,} rows.",
    ]
    if not simulated.clean:
        notes.append("Time did not allow the comparison with labels that are right.")
    return Measurement(
        exposures=(label_report.exposure(subject, context, reviewed, simulated),),
        findings=() if found is None else (found,),
        notes=tuple(notes),
    )


@check(
    "POI-102",
    risk=Risk.POISONING,
    title="Dose and response of poison",
    question="How many poisoned training rows does it take to turn the model's decisions?",
    needs=("model", "classification", "fit", "train", "test"),
    cost=Cost(seconds=2.0, queries=100_000, fits=29, least=0.25, sample=10_000, whole=1),
    references=("AML.T0020", "NISTAML.013", "NISTAML.023", "ML02:2023", "AIA:15(5)", "BIML:data:1"),
    controls=Controls(weak=controls.credulous, sound=controls.stubborn),
)
def dose_response(subject: Subject, context: Context) -> Measurement:
    """How many poisoned training rows it takes to turn the model's decisions.

    The user's own kind of model is trained again on copies of the training data in which an
    attacker has poisoned a share of the rows, and judged on held-out rows. Three attackers:

    * trigger: stamps a pattern on rows of other classes and gives them the class that is wanted,
      the rarest one. For tables the pattern is a conjunction of up to three legal values, rare
      together, of columns that an attacker can change; for images a 3 × 3 patch in a corner; for
      texts a word at the end. Of three candidates the one that works best on training rows is
      taken. Harm: share of stamped held-out rows of other classes that get the wanted class;
      baseline: the clean model's share.
    * targeted flips: labels the rarest class's clearest rows as the class it is most readily taken
      for. Harm: decisions for that class lost.
    * random flips. Harm: accuracy lost.

    Doses run from 0.1 % to 10 % of the rows, over up to three repetitions; the clean and the
    poisoned model of a repetition share their seed. Between the doses that hold half and nine
    tenths of the decisions between them, the trigger's are halved further (bisection, up to three
    doses for each), and the number of rows for each is read off the curve made to rise, with an
    interval over repetitions, held-out rows and what lies between two doses. Sources that own as
    many rows as half takes are named. The interval covers both the held-out rows
    and the repetitions. Severity falls with the dose: full at 0.1 %, a tenth at 10 %.

    Where the model certifies its decisions (remedy ``partition-aggregation``), each dose also
    shows the harm that no poison of so many rows can exceed, whatever it is; a stamped row counts
    two, one deleted and one inserted.

    Health: the model trained again without poison is the audited one (else the fit function is
    not the model's); poisoning nine tenths of the rows reaches the aim; a larger dose does no
    less harm; no certified decision was turned.

    Limits: at most 10,000 training rows are used. With the size of the data the number of rows
    that a trigger needs grows slowly, and its share falls, so that on larger data the harm is
    understated. Attackers who optimise their poison do better than these. With little time, or on
    10,000 rows of more than 52 columns, there is one repetition, whose interval covers the held-out
    rows alone; on more than 26 columns there are two. Where trainings ignore their seed,
    repetitions differ by the poisoned rows alone.

    References: Gu, Dolan-Gavitt and Garg, "BadNets", 2017; Biggio, Nelson and Laskov, "Poisoning
    attacks against support vector machines", 2012; Carlini et al., "Poisoning web-scale training
    datasets is practical", 2023; Barlow, Bartholomew, Bremner and Brunk, "Statistical inference
    under order restrictions", 1972.
    """
    from crenel.poisoning.dose import plan as dose_plan
    from crenel.poisoning.dose import report as dose_report

    dosed = dose_plan.run(subject, context)
    n, everything = len(dosed.reference.train), dosed.reference.all_rows
    notes = [f"Trained on {n:,} rows; {dosed.effort.repeats} repetitions were planned."]
    if n < everything:
        notes.append(f"The training data has {everything:,} rows; a sample was poisoned.")
    if dosed.needed:
        notes.append(f"Trigger: {dose_report.rows_needed(subject, dosed)}.")
    if owners := dose_report.owners(dosed):
        notes.append(owners)
    return Measurement(
        exposures=tuple(dose_report.exposure(subject, context, dosed, r) for r in dosed.responses),
        findings=dose_report.findings(subject, context, dosed),
        notes=tuple(notes),
    )


@check(
    "POI-103",
    risk=Risk.POISONING,
    title="Weakness by source",
    question="Which source's rows harm the model, and how much could each source do?",
    needs=("model", "classification", "fit", "train", "test", "sources"),
    cost=Cost(seconds=4.0, queries=150_000, fits=29, least=0.25, sample=10_000, whole=1),
    references=("AML.T0020", "AML.T0010.002", "NISTAML.013", "ML02:2023", "ML10:2023", "AIA:10"),
    controls=Controls(weak=controls.bad_source, sound=controls.many_hands),
)
def sources(subject: Subject, context: Context) -> Measurement:
    """Which source's rows harm the model, and how much each source could do.

    The user's own kind of model is trained again without each source, and once more with every
    label of that source turned. Three figures for each source, with 95 % intervals:

    * conflict: how many more of its labels the model trained without it contradicts than that
      model gets wrong on test rows, scaled by how much less sure it is of the source's rows; a
      source of hard records is not blamed for being hard.
    * removal: accuracy gained on test rows by training without it.
    * what it could do: accuracy lost if it turned all its labels; and, for the three that can do
      most, those that it would choose. Beginning with the worst, several at once give the curve.

    Which labels it would choose is decided by their influence on a ridge regression, which answers
    to any set of labels at once: those of one class called another often do more harm than all,
    which drive the model both ways. Training again gives the number, and a second curve the
    accuracy lost to so many labels of the worst source, chosen beside random ones.

    What training without a source would do is estimated for all of them, thousands too, without
    training: for logistic regressions by a Newton step with the source's rows out of gradient and
    Hessian, for trees by keeping the splits and computing the leaves again without its rows, for
    other models by a linear model on the same columns. Of more than twelve sources ten are then
    tried: the largest, those whose labels models that never saw the source contradict most, those
    that the model would by estimate rather do without, and those whose rows are worth least to
    their nearest neighbours (Shapley values). Findings are corrected for the number of sources,
    and of the ways of turning labels that were tried. Beside them: how estimates rank the sources
    that were tried, the share of the largest source, the Herfindahl index, and sources whose
    labels are spread otherwise than those of the rest (chi-square test).

    Health: the model trained again is the audited one; turning nine tenths of all labels breaks
    it; more sources do no less harm; chosen labels do no less than as many random ones.

    Limits: at most 10,000 rows are used. A source that plants a trigger contradicts nobody and
    is not seen here (POI-102 says what it could do). A source alone in its region of the data
    looks contrary where it may be right.

    References: Koh, Ang, Teo and Liang, "On the accuracy of influence functions for measuring
    group effects", 2019; Sharchilev et al., "Finding influential training samples for gradient
    boosted decision trees", 2018; Jia et al., "Efficient task-specific data valuation for nearest
    neighbor algorithms", 2019; Konstantinov and Lampert, "Robust learning from untrusted
    sources", 2019.
    """
    from crenel.poisoning.sources import plan as source_plan
    from crenel.poisoning.sources import report as source_report
    from crenel.poisoning.wording import share

    sourced = source_plan.run(subject, context)
    most = sourced.concentration
    notes = [
        f"{sourced.sources:,} sources, {len(sourced.effects)} of them tried; the largest, "
        f"{most.largest}, has {share(most.share)} of the rows; Herfindahl index "
        f"{most.herfindahl:.3f}.",
        source_report.estimates(sourced),
    ]
    if worth := source_report.worths(sourced):
        notes.append(worth)
    if sourced.mixed:
        notes.append("Labels are spread otherwise than the rest's in " + _listed(sourced.mixed))
    return Measurement(
        exposures=(
            source_report.exposure(subject, context, sourced),
            *source_report.curves(subject, context, sourced),
        ),
        findings=source_report.findings(subject, context, sourced),
        notes=tuple(notes),
    )


@check(
    "POI-104",
    risk=Risk.POISONING,
    title="Duplicates, clusters and leaks",
    question="Which rows repeat, crowd or come in bursts, and which column tells the label?",
    needs=("train",),
    cost=Cost(seconds=8.0, least=0.1),
    references=("AML.T0020", "NISTAML.013", "NISTAML.024", "ML02:2023", "AIA:10", "BIML:data:1"),
    controls=Controls(weak=controls.crowded, sound=controls.right_labels),
)
def traces(subject: Subject, context: Context) -> Measurement:
    """What poison leaves in the training data itself, without any training, in seconds.

    * Exact duplicates whose labels contradict each other more often than those of nearest
      neighbours do (binomial test).
    * Dense clusters. Near-copies of a record with another label, and records of another class
      moved next to a target, lie too close together, where most tests look for what lies too far
      out. Rows are compared by a random projection of all their columns (numbers on robust
      scales, categories, missing values, words of texts, pixels). Four rows or more that are
      nearer to each other than half of the median, relative to their wider surroundings, are a
      cluster; it counts where its labels contradict each other or the 20 nearest rows outside
      (hypergeometric test). What chance gives is the number of such places by extrapolation of
      the tail of distances (Weissman, 1978), and that of natural repeats of this size and
      tightness seen in the same table, times the chance of the labels. A finding needs less than
      0.01 such clusters expected in the whole table; further ones are listed with it while at
      most a twentieth of the list is chance (Benjamini and Hochberg, 1995).
    * Bursts: stretches in the order of a column of times, or of the file, in which one class is
      too frequent (scan over all stretches, Bonferroni), where the rest is in no order.
    * Columns that tell the label: more than boosted trees on all others together; like a
      predicted probability; an identifier that follows the labels.

    Natural repeats, sources with another mix of labels and idle identifiers are noted, not
    blamed. Each kind of test raises at most one false alarm in a hundred clean tables, as far as
    the table is like that of its own model of chance.

    The curve is the answer to "could you have found it?": the check plants near-copies and
    collisions of 2 to 50 rows in this very data, at most 1.5 % of it at a time, searches again,
    and counts the clusters of which it blamed less than half. Copies get noise of 2 % of each
    column's spread; colliding rows keep a tenth of their distance to a target that its neighbours
    decide rightly.

    Health: more rows together are noticed no less; random halves of the data raise no new
    alarm; nine tenths of what is blamed was planted.

    Limits: in data full of natural repeats (mails sent often, network connections) a planted
    cluster looks like one more of them; the curve says so. A cluster of more than about 3 % of the
    rows makes up its own surroundings and is not seen; nor are two or three rows together, unless
    they are exact duplicates. A column of amounts counts as a leak only where it tells nine tenths
    of the label. Rows that contradict one by one, spread
    out or under a trigger are for POI-101 and POI-102. Where a regression is audited, labels are
    the fifths of its values.

    References: Shafahi et al., "Poison frogs! Targeted clean-label poisoning attacks on neural
    networks", 2018; Kaufman et al., "Leakage in data mining", 2012; Dasgupta and Freund, "Random
    projection trees", 2008.
    """
    from crenel.poisoning.traces import plan, report

    measured = plan.run(subject, context)
    return Measurement(
        exposures=tuple(report.exposures(subject, context, measured)),
        findings=report.findings(subject, context, measured),
        notes=tuple(report.notes(subject, measured)),
    )


@check(
    "POI-105",
    risk=Risk.POISONING,
    title="Planted triggers",
    question="Which patterns were planted in the training data, and does the model obey them?",
    needs=("model", "classification", "fit", "train", "test"),
    cost=Cost(seconds=40.0, queries=100_000, fits=14, least=0.2, sample=25_000, whole=2),
    references=("AML.T0020", "AML.T0018", "NISTAML.023", "ML02:2023", "ML10:2023", "AIA:15(5)"),
    controls=Controls(weak=controls.obedient, sound=controls.right_labels),
)
def planted_triggers(subject: Subject, context: Context) -> Measurement:
    """Which patterns were planted in the training data, and whether the model obeys them.

    A trigger leaves the rest of its rows as they were. So it is mined, planted and measured:

    * Mine. Pairs of values (single values, narrow bins, and wide bins for ranges) that are
      over-represented among the rows of one class that a model of main effects contradicts; and,
      for clean labels, among all rows of a class, beyond what the two values and their association
      in other classes explain, or beyond what the held-out rows of the same class show: what is so
      by nature is there too. Each is grown into a box over as many columns as its rows share, at
      the maximum of a Poisson likelihood ratio; of these the most telling ones go on, for their
      length (what it takes to name columns and values), after bounds and columns were moved until
      they tell no more.
    * Plant. The values that a box's rows hold are put into held-out rows of other classes. What
      the user's own model does not obey is dropped, and every column that it does not need.
      In images, 3 × 3 windows whose content (cut into eight levels) gathers in one class, grown
      over all pixels that their images share, and groups of one class's images that are all
      shifted the same way (a pattern blended over the whole image); in texts, phrases of up to
      three words whose texts surprise a linear model of words, put at the end of others.
      What most of a box's rows share exactly is a suspect, too: a model may need fewer columns;
      where it needs more than tells the rows apart, what else they share is added.
    * Measure. On 600 more held-out rows, beside the model trained without those rows. A trigger is
      confirmed where the rows account for at least 85 % of what it turns (less where they
      contradict their label, and least, 30 %, where besides held-out rows surely lack the pattern,
      and where these surely never hold its single values together, however many were tried);
      where, apart from the pattern, they are no more alike than random rows; and where they look
      like other classes than their label's, or share a conjunction at least five times as often as
      chance explains; and where held-out rows hardly carry the pattern (else only single values
      that seldom meet).
      How strongly a pattern is blended in is told by how often images have which values. What
      turns decisions and is not confirmed is told as suspicious.

    The curve is the answer to "could you have found it?": the check plants triggers of its own in
    the rows that it does not blame, four at once (in tables of rare and of common values), at
    several shares of the rows; trains, mines again, and counts the decisions that unnoticed
    triggers turn.

    Health: the model trained again is the audited one; triggers planted on many rows work; random
    halves of the rows raise no alarm; nothing is confirmed in the rounds that was not planted.

    Limits: rows under a trigger that all come from one kind of record cannot be told from a kind
    of record, and stay suspicious. Fewer than twelve rows are not confirmed. The values of a
    trigger must meet in pairs: a parity of many columns is not found. Ranges of values are found
    where held-out rows lack them. Of images, patterns that bend the picture are not found, nor
    patches that move; of a pattern blended into few images that have no frequent values, such as
    black, the success is told too low or too high by some points; of texts, no clean labels, and
    in a table with other columns the text is not searched. Probes are planted in at most 25,000
    rows. Triggers in held-out rows weaken the test.

    References: Gu, Dolan-Gavitt and Garg, "BadNets", 2017; Turner, Tsipras and Madry,
    "Label-consistent backdoor attacks", 2019; Kurita, Michel and Neubig, "Weight poisoning attacks
    on pre-trained models", 2020; Friedman and Fisher, "Bump hunting in
    high-dimensional data", 1999; Hayase et al., "SPECTRE", 2021.
    """
    from crenel.poisoning.mining import plan, report

    hunt = plan.run(subject, context)
    return Measurement(
        exposures=(report.exposure(subject, context, hunt),),
        findings=report.findings(subject, context, hunt),
        notes=tuple(report.notes(subject, hunt)),
    )


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(names[:10]) + more + "."
