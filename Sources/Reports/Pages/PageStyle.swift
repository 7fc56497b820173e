// SPDX-License-Identifier: Apache-2.0

/// The style of all pages. Colours of classes run from blue (low) over neutral to red (high), the
/// same order for readers with red-green blindness.
enum PageStyle {
  static let sheet = """
    :root{color-scheme:light dark;--page:#fff;--ink:#1b1d21;--soft:#5b6068;--rule:#d9dce1;\
    --panel:#f5f6f8;--bad:#b3261e;--good:#1a7f37;\
    --zero:#111;--d0:#1c4e96;--d1:#4480c4;--d2:#86b1dc;--d3:#c3d8ee;--d4:#f2f0ea;\
    --d5:#f9d5b9;--d6:#f0a277;--d7:#d8643d;--d8:#a31d20;\
    --c0:#c2571a;--c1:#1f66c1;--c2:#2d8a57;--c3:#8e44ad;--c4:#9a7d0a;--c5:#596a72;--c6:#b5306f;\
    --c7:#0b8a8f}
    @media screen and (prefers-color-scheme:dark){:root{--page:#17181b;--ink:#e7e8ea;--soft:#a2a7af;\
    --rule:#3a3d43;--panel:#202226;--bad:#ff8a80;--good:#7ddb95;\
    --zero:#fff;--d0:#7db8ff;--d1:#4a8fdd;--d2:#3368a6;--d3:#2b4869;--d4:#33353a;\
    --d5:#5e4030;--d6:#96562f;--d7:#d8773a;--d8:#ffa873;\
    --c0:#f0914f;--c1:#6aa9f7;--c2:#6fcf97;--c3:#c792ea;--c4:#e0c85a;--c5:#a9b7bd;--c6:#f48fb8;\
    --c7:#6fd3d6}}
    *{box-sizing:border-box}
    body{margin:0;background:var(--page);color:var(--ink);\
    font:16px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
    main,footer{max-width:90rem;margin:0 auto;padding:1.2rem 1.4rem}
    footer{color:var(--soft);font-size:.85rem}
    h1{font-size:1.6rem;margin:.2rem 0 .6rem;overflow-wrap:anywhere}
    h2{font-size:1.2rem;margin:2.2rem 0 .7rem;padding-top:.8rem;border-top:1px solid var(--rule)}
    p{margin:.3rem 0 .7rem;max-width:60rem}
    .lead{overflow-wrap:anywhere;margin:.15rem 0}
    .note{color:var(--soft);font-size:.87rem}
    .warnings,.bad,.good{list-style:none;margin:.8rem 0;padding:.6rem .9rem;\
    background:var(--panel);border-left:4px solid var(--c4);overflow-wrap:anywhere}
    .bad{border-color:var(--bad)}.good{border-color:var(--good)}
    .tiles{display:flex;flex-wrap:wrap;gap:.7rem;margin:1.1rem 0}
    .tile{background:var(--panel);border-radius:8px;padding:.6rem .95rem;min-width:9.5rem}
    .tile .name{color:var(--soft);font-size:.87rem}
    .tile .value{font-size:1.35rem;font-variant-numeric:tabular-nums;white-space:nowrap}
    .grid{display:grid;gap:1.4rem 2rem;\
    grid-template-columns:repeat(auto-fit,minmax(min(100%,34rem),1fr))}
    .wide{grid-column:1/-1}
    .multiples{display:grid;gap:.8rem 1.2rem;\
    grid-template-columns:repeat(auto-fill,minmax(min(100%,14.5rem),1fr))}
    figure{margin:0 0 .6rem;min-width:0}
    figcaption{font-weight:600;font-size:.93rem;margin-bottom:.35rem}
    .commands{font:.82rem/1.6 ui-monospace,monospace;padding-left:1.2rem;overflow-wrap:anywhere}
    .small figcaption{font-weight:400;font-size:.82rem;margin:0;font-variant-numeric:tabular-nums}
    .scroll{overflow-x:auto}
    svg{display:block;max-width:100%;height:auto}
    svg text{font-size:11px;fill:var(--soft)}
    .start{text-anchor:start}.middle{text-anchor:middle}.end{text-anchor:end}
    .cells{shape-rendering:crispEdges}.cells path{stroke-width:1;fill:none}
    .frame{fill:none;stroke:var(--rule)}
    .zero{--at:var(--zero)}.d0{--at:var(--d0)}.d1{--at:var(--d1)}.d2{--at:var(--d2)}\
    .d3{--at:var(--d3)}.d4{--at:var(--d4)}.d5{--at:var(--d5)}.d6{--at:var(--d6)}\
    .d7{--at:var(--d7)}.d8{--at:var(--d8)}
    .c0{--at:var(--c0)}.c1{--at:var(--c1)}.c2{--at:var(--c2)}.c3{--at:var(--c3)}\
    .c4{--at:var(--c4)}.c5{--at:var(--c5)}.c6{--at:var(--c6)}.c7{--at:var(--c7)}
    .cells path,.line{stroke:var(--at)}.swatch{background:var(--at)}.mark{fill:var(--at)}
    .line{fill:none;stroke-width:1.8;stroke-linejoin:round}
    .reference{stroke:var(--soft);stroke-width:1.2;stroke-dasharray:5 4}
    .rule{stroke:var(--rule);fill:none}
    .legend{list-style:none;display:flex;flex-wrap:wrap;gap:.15rem .9rem;padding:0;\
    margin:.35rem 0 0;font-size:.8rem;color:var(--soft)}
    .legend li{display:flex;align-items:center;gap:.35rem}
    .swatch{width:.9rem;height:.9rem;border:1px solid var(--rule)}
    .key{width:24px;height:10px}
    table{border-collapse:collapse;font-size:.87rem;font-variant-numeric:tabular-nums}
    th,td{padding:.2rem .7rem .2rem 0;text-align:left;border-bottom:1px solid var(--rule);\
    white-space:nowrap}
    th{color:var(--soft);font-weight:600}
    .right{text-align:right;padding:.2rem 0 .2rem .9rem}
    .summary td{font-weight:600}
    @media print{:root{color-scheme:light}main,footer{max-width:none;padding:0}\
    *{print-color-adjust:exact;-webkit-print-color-adjust:exact}\
    figure,.tile,tr{break-inside:avoid}h2{break-after:avoid}.scroll{overflow:visible}\
    thead{display:table-header-group}table{font-size:.68rem}svg{min-width:0!important}}
    """
}
