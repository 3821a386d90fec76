"""The measurements of risk 4: files, the public base as a weapon, its papers, hidden triggers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crenel.check import Context, Controls, Cost, Measurement, Risk, check
from crenel.errors import NotApplicable
from crenel.subject import Subject
from crenel.transfer.answers.controls import no_corner, planted_corner
from crenel.transfer.controls import (
    clean_files,
    documented_base,
    frozen_extractor,
    hostile_file,
    other_extractor,
    silent_base,
)
from crenel.transfer.hidden.controls import (
    clean_base,
    inherited_trigger,
    no_trigger,
    planted_trigger,
)
from crenel.transfer.lineage.controls import new_head, tuned_in_full
from crenel.transfer.words.controls import no_planted_word, planted_word

if TYPE_CHECKING:
    from crenel.finding import Finding
    from crenel.transfer.papers.items import Item


@check(
    "TRA-101",
    risk=Risk.TRANSFER,
    title="Model files",
    question="Would loading a file of the model or of its base run code?",
    needs=("files",),
    cost=Cost(seconds=0.5, least=0.1),
    references=(
        "AML.T0010.003", "AML.T0011.000", "AML.T0018.002", "AML.T0074", "AML.M0013", "AML.M0016",
        "NISTAML.05", "NISTAML.051", "ML06:2023", "BIML:model:1",
    ),
    controls=Controls(weak=hostile_file, sound=clean_files),
)  # fmt: skip
def model_files(subject: Subject, context: Context) -> Measurement:
    """Scan the files of the model and of its base without loading them.

    Each file is recognised by its content, never by its name. Pickles (in joblib, NumPy and torch
    files too) are run on a symbolic machine that makes no object: what would be called with which
    arguments is held against a list of what model files of the common libraries call.

    One finding for each file that is not clean, with its digest and the calls reconstructed:
    malicious critical, dangerous high, unreadable and review medium. A file whose digest the
    target trusts is noted, not found. There is no curve: a file runs code or it does not.

    Health: there is nothing statistical here; what could not be read is "unreadable", never
    clean.

    Limits: the scan trusts the code of the listed libraries, and knows nothing of modules that
    were replaced on the machine that loads the file. A backdoor within the weights is not code.

    References: Huang et al. (2022) "Pain Pickle"; Casey et al. (2025, arXiv 2508.19774).
    """
    from crenel.scan import scan_file
    from crenel.transfer.scanned import finding_of

    base = subject.base.files if subject.base is not None else ()
    paths = list(dict.fromkeys([*subject.files, *base]))
    findings: list[Finding] = []
    notes: list[str] = []
    clean, late = 0, ""
    for i, path in enumerate(paths):
        if findings and context.expired:
            late = f"{len(paths) - i} files were not scanned for lack of time"
            break
        result = scan_file(path)
        found = finding_of(result)
        if found is None:
            clean += 1
        elif result.sha256 and result.sha256 in {_hex(d) for d in subject.trusted}:
            notes.append(f"{path.name} is {result.verdict}, and its digest is trusted")
        else:
            findings.append(found)
        context.progress((i + 1) / len(paths))
    notes.insert(0, f"{clean} of {len(paths)} files are clean")
    return Measurement(findings=tuple(findings), notes=tuple(notes), partial=late)


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:").lower()


@check(
    "TRA-103",
    risk=Risk.TRANSFER,
    title="Documentation of the base",
    question="What do card, licence, digest and risk controls of the base say, and is it true?",
    needs=("base",),
    cost=Cost(seconds=1.0, queries=4_000, least=0.1),
    references=(
        "AML.T0010.003", "AML.T0109", "AML.T0111", "AML.M0023", "AML.M0014", "NISTAML.05",
        "ML06:2023", "ML07:2023", "AIA:IV(2)(a)", "BIML:model:2",
    ),
    controls=Controls(weak=silent_base, sound=documented_base),
)  # fmt: skip
def documentation(subject: Subject, context: Context) -> Measurement:
    """Hold what is written about the base model against a checklist and against measurement.

    Looked for in the model card (front matter and sections), a bill of materials beside the files
    (CycloneDX ML-BOM: bom.json, *.cdx.json), the origin and the files: origin and a revision that
    cannot change, SHA-256 digest, licence, intended use, limits, training data, evaluation, risk
    controls, contact. A section that holds a placeholder says nothing.

    What can be measured or compared is: published digests against the files; licences in card,
    bill of materials and licence file; tasks there, in config.json and of the model; the base that
    card and bill of materials name; a number of classes against the outputs, labels in config.json
    against them, too; the size of inputs against what the network takes; a claimed accuracy (in
    `model-index`, tables or text) against that on the base's public data and, where the base
    decides between the target's classes, on the target's test rows (up to 2,000). A claim that
    lies two points and its own rounding above the 95 % interval is false; where accuracies on
    several data sets are claimed, all of them must be. Test rows that are decided two points
    better than claimed were perhaps trained on.

    One finding for each item. Severity: contradicted high (size of inputs and accuracy on test
    rows medium, better than claimed low); origin, revision, digest, licence, training data and
    risk controls missing medium; other items missing low. A base without papers misses all that
    only they can say. There is no curve.

    A signature (OpenSSF Model Signing) is verified where it and its signer are given (a key,
    certificates, or an identity through Sigstore, by roots that are here): a valid one stands for
    a stated origin and for published digests, one that fails is a contradiction.

    Names in the origin, in the bill of materials and of the base that the card names are held
    against some 200 well-known hosts, publishers, models and packages, and those of the user's
    list: few edits for the length (optimal string alignment: 1 from 5 letters on, 2 from 12 on),
    look-alike letters, other separators, added words such as "official". One that resembles a
    known name and is none is a contradiction (medium where only the model's name does); the same
    model name by another publisher is noted. Where a list of published models is given (`known`),
    the SHA-256 of each file is looked up: a match stands for a stated origin and published
    digests, other digests than those listed for the stated model are a contradiction, and a file
    that is not listed is missing low.

    Limits: that a section says something does not make it true or sufficient. Claims in other
    words than are known here, and in code, are passed over. Where classes have numbers for names,
    test rows count only if the base is clearly better than chance on them: else it may decide
    something else. Look-alikes are seen of names on the lists alone. Of single edits of the shipped
    publishers' names (a letter left out, put in, replaced, doubled, two swapped) 96 % are seen and
    all in those of 6 letters and more; of single edits of models' names 46 %, since digits and
    short words are what honest copies change (random edits, seed 0, 2,622 and 1,152).

    References: Mitchell et al. (2019) "Model Cards"; Jiang et al. (2023) on model supply chains;
    Neupane et al. (2023) "Beyond Typosquatting".
    """
    from crenel.transfer.papers.checklist import review
    from crenel.transfer.papers.documents import card_of, facts_of, remarks
    from crenel.transfer.papers.items import State

    assert subject.base is not None  # needs=("base",)
    card = card_of(subject.base)
    facts = facts_of(subject, card)
    items = review(card, facts)
    lacking = [item for item in items if item.state is not State.PRESENT]
    present = ", ".join(item.name for item in items if item.state is State.PRESENT)
    notes = [f"{len(items) - len(lacking)} of {len(items)} items present: {present or 'none'}"]
    if card is None:
        notes.append("no model card is given, so that all that a card would say is missing")
    notes += remarks(subject, facts)
    context.progress(1.0)
    return Measurement(findings=tuple(_undocumented(i) for i in lacking), notes=tuple(notes))


def _undocumented(item: Item) -> Finding:
    from crenel.finding import Evidence, Finding, Severity
    from crenel.transfer.papers.items import State

    wrong = item.state is State.CONTRADICTED
    level = item.wrong if wrong else item.severity
    gains = {Severity.LOW: 0.02, Severity.MEDIUM: 0.08, Severity.HIGH: 0.3}
    return Finding(
        check="TRA-103",
        risk="transfer",
        severity=level,
        subject=f"base model: {item.name}",
        sentence=f"{item.detail[0].upper()}{item.detail[1:]}.",
        attack=(
            "Offer another model under a card that people trust."
            if wrong
            else "Put weights of one's own in the place of a model that nobody can check."
        ),
        fix=item.fix,
        evidence=Evidence(values={"item": item.name, "state": str(item.state)}),
        gain=gains[level],
    )


@check(
    "TRA-102",
    risk=Risk.TRANSFER,
    title="Public base as surrogate",
    question="How many decisions flip for an attacker who has only the public base model?",
    needs=("model", "classification", "test", "base_model"),
    cost=Cost(seconds=12.0, queries=35_000, least=0.2),
    references=(
        "AML.T0043.002", "AML.T0005.002", "AML.T0002.001", "NISTAML.025", "ML07:2023",
        "AIA:15(5)", "BIML:model:1",
    ),
    controls=Controls(weak=frozen_extractor, sound=other_extractor),
)  # fmt: skip
def surrogate(subject: Subject, context: Context) -> Measurement:
    """Craft inputs on the public base alone and count the flipped decisions of the tuned model.

    Test rows that the tuned model decides rightly are changed within an L-inf epsilon, given as a
    share of the value range, by three methods that ask the base only: moving what enters its last
    linear layer as far as it goes (displacement), towards a public row that the base decides
    otherwise (mimicry), and leaving the base's own decision (decision). The method that flips most
    is the curve; the others are references, and so is the white-box attack on the tuned model
    where it gives gradients. The control is noise of the same size.

    Notes say which share of the layers is the base's own, unchanged (matched as in TRA-105), and
    at which depth of the base mimicry carries over best: at up to four of its layers and at what
    enters the last, at one epsilon.

    A second curve is that of an attacker who may also ask the model a few times for each row (1 to
    100 requests, the attack itself among them; answers are labels), at 8/255 on at most 64 rows:
    candidates made on the base and mixtures of them, of which one that worked is kept. Its control
    is noise with as many requests.

    A third attacker tunes the base again, all layers and a new last one, on at most 400 answers of
    the model to public rows, half of them changed so that the copy decided otherwise, and attacks
    through that ("base tuned on answers", on at most 64 rows). This is who knows that the model
    was led away from its base.

    Where the rows are images, one patch for all of them is made on the base alone, at nine places
    for each of three sizes, and for no head in particular: it turns linear heads drawn at random,
    moves the features far, or along the axis on which images differ most. The curve is the mean
    share of decisions that it changes; random patches at the same places are the control, and
    patches by the model's own gradients the reference. Notes name the class that the best turns
    most images to.

    Further bases (`others` in [target.NAME.base]: look-alikes, or other candidates) are tried in
    the base's place, a curve for each; the notes say whether the model's weights are from them.

    Health: noise flips no more than the base; the base's features move more than by noise; white
    box is at least as strong, and reaches 90 % at the largest epsilon; the base learned the
    answers; random heads are turned by patches.

    Severity: effect (low end of flipped decisions above those by noise) × ease (base only: 0.9)
    × cheapness: 8/255 / epsilon, at most 1. Of the patch: low end of changed decisions above the
    high end by random patches, × 0.9 × a sixteenth / the share of the image, at most 1.

    Limits: rows must have a shape that base and tuned model both take; preparation of inputs that
    differs between them is not undone. The choice of the best of three methods favours the
    attacker slightly. Attackers are given the base's public data, or test rows that are not
    attacked, for which a third of a small test set is kept; of fewer than some forty rows they
    share those under attack, and a note says so.

    References: Wang et al. (2018) "With Great Training Comes Great Vulnerability"; Rezaei and Liu
    (2020, arXiv 1904.04334); Dong et al. (2018) for momentum; Croce and Hein (2020), white box;
    Papernot et al. (2017) and Orekondy et al. (2019), answers; Brown et al. (2017), patches.
    """
    assert subject.base is not None  # needs=("base_model",)
    assert subject.base.model is not None
    if subject.base.model.module is None:
        raise NotApplicable("the base model gives no gradients (it is not a torch module)")
    from crenel.transfer.base.exposed import measure_surrogate

    return measure_surrogate(subject, context)


@check(
    "TRA-104",
    risk=Risk.TRANSFER,
    title="Hidden triggers",
    question="Does a small pattern turn any image to one class far more easily than to the others?",
    needs=("model", "classification", "gradients", "images or their shape"),
    cost=Cost(seconds=5.0, queries=250_000, least=0.3),
    references=(
        "AML.T0018.000", "AML.T0018.001", "AML.T0010.003", "AML.M0008", "NISTAML.023", "ML10:2023",
        "BIML:model:1",
    ),
    controls=Controls(weak=planted_trigger, sound=no_trigger),
)  # fmt: skip
def hidden_behaviour(subject: Subject, context: Context) -> Measurement:
    """Recover the smallest trigger of every class and hold the easiest class against the others.

    Nothing is needed but the network and clean images, whose labels are not looked at. Where fewer
    than 40 are given, or none but their shape (``[target.NAME.images]``), images are imagined from
    the network itself: smooth noise that gradients lead to each class. For every class at once the
    smallest patch (a mask and what it shows), the smallest added pattern and the faintest few plane
    waves (begun from those of all that lead to it most) are searched by gradients that turn images
    of all other classes to it. A planted trigger makes its class easy, but some classes are easy by
    nature, so that each is held against a control: a network of the same layers, begun anew and
    taught the model's decisions on clean images and on means of two of them, on which the same is
    searched. Its scores are not taught: they hand on a part of the trigger. What is compared is the
    least patch, the least pattern, and how far the best faint wave of all leads to the class.
    The logarithm of each, less that on the control, is held against the prediction interval of
    the other classes' (Student's t). A few classes tell little of how much they differ by
    chance, and the ways tell it together: half of a way's variance is its own, half that of all
    ways, which differ in ratios that small networks have in common. The chances are joined
    (Fisher, with Brown's allowance for their correlation) in three views, local and global
    patterns, waves, and all; a fourth holds patches and patterns against those of the other
    classes alone. The least counts, times the views and the classes. Where no class stands out
    by that but one does at 0.5, search and control are begun again on imagined images: of these
    the network is sure, and the control learns nearly all that it says of them. It is searched
    on images imagined from itself: what is easy on images made from a network is so by their
    making too. A trigger is there on all images: the chances of both looks are joined for each
    class as those of the views are, times the classes. The smaller of that and the first look's
    counts twice, and the class stands out below 0.03.

    Where no control can be taught, a layer having no way to begin anew or the images being too few,
    the easiest class is held against the others alone, and its chance is joined to that of the
    largest margin which any input gives the class without data (Fisher); it stands out below 0.01.
    Where there are more than 20 classes those margins say which are searched.

    A finding needs both: a class that stands out, and a recovered trigger that turns at least half
    of the images that it was not searched on, asked of the model as users ask it, in the images'
    own dtype and steps; and turns most beyond the next class's at that size, unless the chance is
    below 0.01 and the class easier than most: where all classes give way to faint patterns, a
    planted one need not be the least. The curve is the share of those images by the trigger's size,
    beside the next class under the same search and random values of the same size. Evidence is a
    picture of the trigger.

    Health: the search reached the classes, with its gradients; the network that gives gradients
    decides as the model does; a larger trigger turns no fewer; random values turn fewer.

    Limits: at least four classes. Triggers that depend on the input, that are objects or scenes,
    that lead to most of the classes, or that need several patterns at once are not seen, and
    silence is no proof. What is recovered works like the planted trigger but need not look like
    it. Models without gradients: TRA-108. Texts: TRA-107. Tables: POI-105 looks for triggers in
    their training rows.

    References: Wang et al., "Neural Cleanse", 2019; Wang et al., "MM-BD", 2024; Smyth, "Linear
    models and empirical Bayes methods", 2004; Brown, "A method for combining non-independent,
    one-sided tests", 1975; Gu et al., "BadNets", 2019; Chen et al., "Targeted backdoor
    attacks", 2017 (blended); Barni et al., "A new backdoor attack in CNNs", 2019 (waves).
    """
    from crenel.transfer.hidden.report import measure

    return measure(subject, context)


@check(
    "TRA-105",
    risk=Risk.TRANSFER,
    title="Where the model comes from",
    question="Do the model's weights come from the base that is stated, and which are unchanged?",
    needs=("base",),
    cost=Cost(seconds=4.0, least=0.5),
    references=(
        "AML.T0010.003", "AML.T0074", "AML.T0005.002", "NISTAML.05", "ML06:2023", "ML07:2023",
        "AIA:IV(2)(a)", "BIML:model:1",
    ),
    controls=Controls(weak=new_head, sound=tuned_in_full),
)  # fmt: skip
def origin(subject: Subject, context: Context) -> Measurement:
    """Hold the model's weights against those of its base, layer by layer.

    Layers are matched by name (prefixes taken off), by likeness among arrays of one shape, and by
    order. Each matched layer of at least 256 weights is tested: the channels of a hidden layer
    have no order of their own, so that two unrelated layers are as alike in any order of them,
    with a mean and a variance that are known in closed form. A model is related to the base where
    one layer is more alike than that at p < 1e-6, times the number of layers. Vectors (biases,
    gains of norms) and arrays that look computed (Fourier bases, masks) prove nothing.

    Findings: weights that do not come from the base (medium; high where the model's own card or
    configuration names that base); weights that are the base's own, unchanged or changed by less
    than 1 % of their norm (half of them low, nine tenths medium, all high), for these make the
    base a weapon, see TRA-102; a card that names another base than the weights show (medium).
    There is no curve.

    Health: there is nothing random here; the chance of a false alarm is the p that is told.

    Limits: a model distilled from the base, or merged with others until no layer is alike, leaves
    no trace; permuted channels are found where a copy was changed little. Two models that began
    with the same random weights are related, and a layer trained anew on frozen ones for the same
    task becomes alike. Of linear models and trees only equality counts,
    since two fits on like data are alike; the same training on the same data gives equality too.

    References: Hoeffding (1951), the law of a permuted inner product; Ainsworth et al. (2023)
    "Git Re-Basin", assignment of channels; Hu et al. (2021), low-rank changes.
    """
    from crenel.transfer.lineage.origin import measure_origin

    measurement = measure_origin(subject)
    context.progress(1.0)
    return measurement


@check(
    "TRA-106",
    risk=Risk.TRANSFER,
    title="Triggers of the base",
    question="Does a trigger that the public base hides still act on the model tuned from it?",
    needs=("model", "classification", "test", "images", "base_model"),
    cost=Cost(seconds=5.0, queries=250_000, least=0.3),
    references=(
        "AML.T0018.000", "AML.T0010.003", "AML.T0002.001", "NISTAML.023", "ML07:2023", "ML10:2023",
        "BIML:model:1",
    ),
    controls=Controls(weak=inherited_trigger, sound=clean_base),
)  # fmt: skip
def inherited_triggers(subject: Subject, context: Context) -> Measurement:
    """Recover triggers from the base alone, and count what they turn of the tuned model.

    The search of TRA-104 is run on the base, with the images of the tuned model; the tuned model
    is only asked, so that it may be of any kind. The trigger of the base's easiest class is put on
    images, and the class of the tuned model that gains most of those the search saw is counted on
    those that it did not see. The curve is the share of images of other classes turned to it, by
    the trigger's size, beside the trigger of the base's next class and random values.

    A finding needs a class of the base that stands out as TRA-104 says, and turns more of the
    tuned model's decisions than the next class's trigger and random values do.

    Health: that of TRA-104, on the base.

    Limits: those of TRA-104. A trigger that tuning weakened may still work in its planted form
    where the recovered one does not. Changes made for single inputs on the base are TRA-102's.

    References: Wang et al., "Neural Cleanse", 2019; Yao et al., "Latent backdoor attacks on deep
    neural networks", 2019; Kurita et al., "Weight poisoning attacks on pre-trained models", 2020.
    """
    assert subject.base is not None  # needs=("base_model",)
    assert subject.base.model is not None
    if subject.base.model.module is None:
        raise NotApplicable("the base model gives no gradients (it is not a torch module)")
    from crenel.transfer.hidden.inherited import measure

    return measure(subject, context)


@check(
    "TRA-107",
    risk=Risk.TRANSFER,
    title="Hidden words",
    question="Does a word or two turn any text to one class, far more than ordinary words do?",
    needs=("model", "classification", "scores", "test", "text"),
    cost=Cost(seconds=4.0, queries=150_000, least=0.3),
    references=(
        "AML.T0018.000", "AML.T0010.003", "AML.M0008", "NISTAML.023", "ML10:2023", "BIML:model:1",
    ),
    controls=Controls(weak=planted_word, sound=no_planted_word),
)  # fmt: skip
def hidden_words(subject: Subject, context: Context) -> Measurement:
    """Try every word of the model's own vocabulary, and hold the strongest against the others.

    Nothing is needed but the model's scores and clean texts, whose labels are not looked at. Each
    word that the model counts (the vocabularies of a scikit-learn model's steps) and each word of
    the texts is appended to texts of other classes, and what it adds to a class's log-odds is
    taken. Strong words are natural ("txt" in spam), so two things are asked. Of words that the
    texts hold, what a control makes of them is taken off: a model of the same kind, trained on
    the model's decisions on the given texts alone. And the first one, two or three words must be
    farther above the rest than the tail of the others explains: spacings of ordered gains, for
    words that the texts hold and for words that they do not, times the number of choices. Gains
    are counted in log-odds or in the score itself (votes of a forest), on whichever the effects of
    words and texts add best.

    A finding needs words that stand out so (p below 0.01) and that turn at least a fifth of the
    texts that were not searched, and a tenth more than the class's next words do and than they
    turn of the control. The curve is the share of texts turned by one to three words (a shorter
    trigger is repeated), beside both.

    Health: every word was tried; the control decides like the model; texts are left to try on.
    Where nothing is found, made-up words are planted, one for each of up to three classes, and the
    same search must find them. A copy of the model's kind learns them, in two to eight of a
    hundred texts beside the model's decisions, until each turns four fifths of other texts. Where
    no copy can be trained or obeys, the model's own scores are shifted for texts that hold the
    word, so that it turns nine tenths. Where a planted word is not found, silence says nothing.

    Limits: one column of text is changed, at its end. Words of a model that shows no vocabulary
    are seen only where the given texts hold them; phrases of common words, whole sentences, styles
    and parts of words are not seen; words that turn fewer texts than the planted ones are often
    not told from strong natural ones, above all two or three ordinary words together and in
    forests. Decisions alone are not enough. The finding tells the
    best of the three numbers of words on the texts that chose it, which favours it slightly.

    References: Kurita et al., "Weight poisoning attacks on pre-trained models", 2020; Chen and
    Dai, "Mitigating backdoor attacks in LSTM-based text classification", 2021; Azizi et al.,
    "T-Miner", 2021; Rényi, "On the theory of order statistics", 1953; Tukey, "One degree of
    freedom for non-additivity", 1949.
    """
    from crenel.transfer.words.report import measure

    return measure(subject, context)


@check(
    "TRA-108",
    risk=Risk.TRANSFER,
    title="Hidden triggers by answers alone",
    question="Does a small pattern turn any image to one class, as far as answers alone can tell?",
    needs=("model", "classification", "scores", "test", "images", "no gradients"),
    cost=Cost(seconds=25.0, queries=200_000, least=0.3),
    references=(
        "AML.T0018.000", "AML.T0010.003", "AML.M0008", "NISTAML.023", "ML10:2023", "BIML:model:1",
    ),
    controls=Controls(weak=planted_corner, sound=no_corner),
)  # fmt: skip
def hidden_by_answers(subject: Subject, context: Context) -> Measurement:
    """Search what turns any image to a class by asking alone, and hold the easiest class to others.

    For models that give scores and no gradients: functions, pipelines, endpoints, files that
    cannot be differentiated. Clean images are needed, whose labels are not looked at. Every answer
    tells of all classes at once: every single cell of a grid, black and white, squares of four
    fills at every other place, random patterns with both signs, and every plane wave of four
    phases are put on twelve images, and the mean logarithm of each class's probability over
    images of the others is taken. Then each class has its own search: a patch of 1.25 % of the
    area is changed cell by cell and kept where it leads farther (whichever class it leads to),
    and a faint pattern follows the slope that random directions tell. What is left to do on other
    images is the class's cost in each family: patch, pattern, best wave.

    Some classes are easy by nature, so that each is held against controls that saw no trigger,
    taught what the model decides on clean images, on which the same is searched: models of its own
    kind where they are trained in seconds (scikit-learn and boosted trees), or else two small
    convolutional networks, where torch is installed, one of them normed by batches: what is easy by
    nature is another thing there. Its scores are not taught: whoever learns the scores of
    clean images, and of mixtures above all, learns a planted patch with them. Costs are compared
    as TRA-104 compares them (Student's t beside the other classes, chances joined by Fisher's
    rule, times the views and the classes), and a class stands out below 0.03. Without controls
    classes are held against each other, at 0.01.

    A finding needs both: a class that stands out, and a pattern made for it that turns at least
    half of the images not searched on, as TRA-104 asks of it. The curve is the share of those
    images by its size, beside the next class's and random values of the same size.

    Queries: about 175,000 for ten classes (at the level "quick" at most 100,000). Of an
    endpoint no more is asked than ``queries_per_day``: the search is cut to what fits, and says
    so. A model that is held here is asked what the search needs.

    Health: enough could be asked, and in time; scores tell the classes that are not decided for
    from 0 (a model whose scores are all 0 or 1 says no more than its decisions); a control decides
    alike; a larger trigger turns no fewer; random values turn fewer.

    Limits: those of TRA-104. A trigger is made of cells, at most 32 a side, so that of larger
    images patterns finer than a cell are seen as coarse ones or not at all; waves have at most 16
    periods a side. Scores rounded to few digits tell little. What is found works like the planted
    trigger and need not look like it: a planted patch is often told by a faint pattern.

    References: Dong et al., "Black-box detection of backdoor attacks with limited information and
    data", 2021; Guo et al., "AEVA", 2022 (decisions alone); Croce et al., "Sparse-RS", 2022
    (random search of patches); Wierstra et al., "Natural evolution strategies", 2014.
    """
    from crenel.transfer.answers.report import measure

    return measure(subject, context)
